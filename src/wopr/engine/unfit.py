"""Waiting tasks whose stored arguments don't fit their function.

They were enqueued for another version of it. Memory holds their ids. They are looked at again when
a function is registered under their name, and at each opening; and tried when somebody says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from wopr.calls.registry import TaskDefinition
from wopr.domain import decide
from wopr.domain.clock import naive_now
from wopr.domain.errors import StorageError
from wopr.domain.spoken import counted
from wopr.domain.task import TaskRecord
from wopr.engine.memory import FIRST_READ, fitting
from wopr.engine.pools.pool import Pool
from wopr.engine.shared import Shared
from wopr.ports.storage import Entry

log = logging.getLogger(__name__)

MOST_READ = 1_000


class Unfit:
    """The tasks of one engine that don't fit their functions."""

    def __init__(self, shared: Shared, pool: Callable[[str], Pool]) -> None:
        self._shared = shared
        self._pool = pool
        self._ids: dict[str, dict[str, None]] = {}
        self._looking: set[asyncio.Task[None]] = set()
        self._closed = False

    def __bool__(self) -> bool:
        return bool(self._ids)

    def __contains__(self, record: TaskRecord) -> bool:
        return record.id in self._ids.get(record.name, ())

    @property
    def counts(self) -> dict[str, int]:
        """How many there are, by name."""
        return {name: len(ids) for name, ids in sorted(self._ids.items())}

    def take(self, record: TaskRecord) -> None:
        """Take a task that does not fit; this is on disk."""
        ids = self._ids.setdefault(record.name, {})
        if not ids and record.name in self._shared.registry.definitions:
            log.error(
                "Task %s (%s) waits, because it does not fit its function: %s It goes on after a "
                "deploy that it fits again; so do others of its name that do not fit. See them: "
                "wopr tasks list --name %s; try one again: wopr tasks retry ID.",
                record.id,
                record.name,
                record.error,
                record.name,
            )
        ids[record.id] = None
        self._shared.live.pop(record.id, None)
        self._shared.left_memory(record.id)

    def forget(self, record: TaskRecord) -> None:
        """Note that a task waits no longer."""
        ids = self._ids.get(record.name, {})
        ids.pop(record.id, None)
        if not ids:
            self._ids.pop(record.name, None)

    def look(self, name: str) -> None:
        """Let those of a name go that fit the function which is registered now."""
        if self._ids.get(name) and not self._closed:
            task = self._shared.loop.create_task(self._look(name))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

    def look_at_all(self) -> None:
        """Look at those of all names, once the engine is open."""
        for name in self._ids:
            self.look(name)

    async def _look(self, name: str) -> None:
        definition = self._shared.registry.definitions.get(name)
        ids = list(self._ids.get(name, ()))
        count = FIRST_READ
        try:
            while ids and definition is not None:
                with self._shared.reading() as changed:
                    found = await self._shared.storage.get_many(ids[:count])
                del ids[:count]
                records = [one for one in found.values() if one.id not in changed]
                self._let_go([one for one in records if self._fits(one, definition)])
                count = fitting(records, count, MOST_READ)
        except StorageError as error:
            log.error("Tasks %s that did not fit can't be looked at: %s", name, error)

    def _fits(self, record: TaskRecord, definition: TaskDefinition) -> bool:
        """Whether a task that nobody changes now fits its function."""
        if record.id in self._shared.live or record not in self or not decide.is_unfit(record):
            return False
        return definition.codec.fits(record.args, record.kwargs)

    def _let_go(self, records: Sequence[TaskRecord]) -> None:
        now = naive_now(self._shared.clock)
        entries: list[Entry] = []
        for record in records:
            transition = decide.try_again(record, now, "fits the function again")
            if transition is not None:
                self._hold(record)
                entries.append((record, transition))
        if entries:
            self._shared.submit(entries, lambda error: self._gone(entries, error))

    def _hold(self, record: TaskRecord) -> None:
        """Have memory hold a task that is about to change."""
        self._shared.live[record.id] = record
        self._shared.left_memory(record.id)

    def _gone(self, entries: Sequence[Entry], error: BaseException | None) -> None:
        if error is not None:
            said = counted(len(entries), "task")
            log.error("Storing that %s fit again failed: %s", said, error)
        for record, transition in entries:
            if error is not None:
                self._shared.live.pop(record.id, None)
                continue
            self.forget(record)
            if record.version == transition.seq:  # else it was changed again already
                self._pool(record.category).push(record)

    async def close(self) -> None:
        """Look at nothing more."""
        self._closed = True
        for task in self._looking:
            task.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)
