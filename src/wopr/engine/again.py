"""Run ended tasks again: each as a new task that points at the old one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from wopr.domain.change import TAKES, Verb, refusal
from wopr.domain.due import DELAY, EXPIRES
from wopr.domain.errors import TaskNotFoundError
from wopr.domain.newtask import NewTask, OnConflict
from wopr.domain.snapshot import decode_options, parents_of
from wopr.domain.task import TaskRecord
from wopr.engine.changing import PAUSE_SECONDS, UNKNOWN, Changed, Changing
from wopr.engine.shared import Shared
from wopr.engine.unique import UniqueKeys

AGAIN_OF = "again_of"
"""The option of a task that runs another one again: that one's id."""
_NOT_KEPT = frozenset({DELAY, EXPIRES, "flow", AGAIN_OF, "act"})
"""Options that were about the old task's own time and flow."""
SLICE = 500
KNOWN_SECONDS = 2.0
"""So long an interruption waits for tasks that are being added."""

AddMany = Callable[[Iterable[NewTask]], Awaitable[list[str]]]


class Again:
    """Makes the new tasks."""

    def __init__(
        self, shared: Shared, changing: Changing, keys: UniqueKeys, add_many: AddMany
    ) -> None:
        self._shared = shared
        self._changing = changing
        self._keys = keys
        self._add_many = add_many

    async def many(self, ids: Sequence[str], act: int, changed: Changed) -> None:
        """Run tasks again; ``changed`` says what came of it, also if this is interrupted.

        Raises:
            BacklogFullError: a category takes no more; those before were enqueued.
            StorageError: some could not be written; those before were.
        """
        for at in range(0, len(ids), SLICE):
            together: list[NewTask] = []
            for record in await self._ended(ids[at : at + SLICE], changed):
                new = once_more(record, act)
                if new.unique_key in self._keys:
                    changed.leave(record.id, f"another task has its unique key {new.unique_key!r}")
                elif new.depends_on or new.unique_key is not None:
                    await self._alone(record, new, changed)
                else:
                    together.append(new)
            if together:
                await self._add(together, changed)
            while self._shared.storage.full:  # callers would be slowed down
                await self._shared.storage.room()
                await asyncio.sleep(PAUSE_SECONDS)

    async def _ended(self, ids: Sequence[str], changed: Changed) -> list[TaskRecord]:
        """Return those of the tasks that have ended so that they can be run again."""
        live = self._shared.live
        found = await self._shared.storage.stored([one for one in ids if one not in live])
        ended: list[TaskRecord] = []
        for one in ids:
            record = found.get(one) or await self._changing.known(one)
            if record is None:
                changed.leave(one, UNKNOWN)
            elif not TAKES[Verb.RUN_AGAIN].include(record):
                changed.leave(one, refusal(record))
            else:
                ended.append(record)
        return ended

    async def _alone(self, record: TaskRecord, new: NewTask, changed: Changed) -> None:
        try:
            await self._add([new], changed)
        except TaskNotFoundError as error:  # one that it takes the result of is not there
            changed.leave(record.id, str(error))

    async def _add(self, tasks: list[NewTask], changed: Changed) -> None:
        """Add tasks and count them; an interruption waits a moment to know what was added."""
        adding = asyncio.ensure_future(self._add_many(tasks))
        try:
            await asyncio.wait([adding])
        except asyncio.CancelledError:
            await asyncio.wait([adding], timeout=KNOWN_SECONDS)
            if adding.done() and not adding.cancelled() and adding.exception() is None:
                changed.count += len(tasks)
            raise
        finally:
            adding.cancel()  # it may wait for room in a backlog
        adding.result()
        changed.count += len(tasks)


def once_more(record: TaskRecord, act: int) -> NewTask:
    """Return the task that does once more what a task did, as far as that is its own."""
    options: dict[str, Any] = {}
    if record.options is not None:
        known = decode_options(record.options)
        options = {name: value for name, value in known.items() if name not in _NOT_KEPT}
    return NewTask(
        name=record.name,
        category=record.category,
        priority=record.priority,
        max_retries=record.max_retries,
        args=record.args,
        kwargs=record.kwargs,
        unique_key=record.unique_key,
        on_conflict=OnConflict.SKIP,
        options=json.dumps({**options, AGAIN_OF: record.id, "act": act}),
        depends_on=parents_of(record),
    )
