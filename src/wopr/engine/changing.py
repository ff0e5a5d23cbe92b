"""Change tasks by hand: one, or very many a slice at a time, in memory or not.

Each change is a transition like any other. Between two slices, which are a commit each, the
loop and the journal serve others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wopr.domain import decide
from wopr.domain.act import MOST_UNCHANGED, Unchanged
from wopr.domain.change import Decision
from wopr.domain.clock import naive_now
from wopr.domain.errors import UniqueKeyConflictError
from wopr.domain.status import CLAIMABLE, LIVE, TERMINAL, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.engine.dependencies.dependents import Dependents
from wopr.engine.pools.pool import Pool
from wopr.engine.shared import Shared
from wopr.engine.unfit import Unfit
from wopr.engine.unique import UniqueKeys
from wopr.ports.storage import Entry

SLICE = 200
"""So many tasks are changed in one turn of the loop, and one commit."""
PAUSE_SECONDS = 0.005
"""So long it waits at least when the tables are behind, for others are slowed down then."""
UNKNOWN = "there is no such task"


@dataclass(slots=True)
class Changed:
    """What came of a change so far."""

    count: int = 0
    left: int = 0
    unchanged: list[Unchanged] = field(default_factory=list)

    def leave(self, task_id: str, why: str) -> None:
        """Note a task that stays as it is."""
        self.left += 1
        if len(self.unchanged) < MOST_UNCHANGED:
            self.unchanged.append(Unchanged(task_id, why))

    @property
    def seen(self) -> int:
        """How many tasks were looked at."""
        return self.count + self.left


class Changing:
    """Changes tasks of one engine."""

    def __init__(
        self,
        shared: Shared,
        pool: Callable[[str], Pool],
        keys: UniqueKeys,
        dependents: Dependents,
        unfit: Unfit,
        scheduled: Callable[[TaskRecord], None],
    ) -> None:
        self._shared = shared
        self._pool = pool
        self._keys = keys
        self._dependents = dependents
        self._unfit = unfit
        self._scheduled = scheduled

    async def known(self, task_id: str) -> TaskRecord | None:
        """Return the task's record with nothing of it in flight."""
        storage = self._shared.storage
        while True:
            record = self._shared.live.get(task_id)
            if record is None:
                with self._shared.reading() as changed:
                    found = await storage.get(task_id)
                record = self._shared.live.get(task_id)
                if record is None:
                    if task_id in changed:  # it was paged in, ran and ended meanwhile
                        continue
                    return found
            if not storage.in_flight(record):
                return record
            await storage.flush()
            await asyncio.sleep(0)  # its ``done`` runs in the loop

    async def one(self, task_id: str, decision: Decision) -> bool:
        """Change one task; whether that was possible.

        Raises:
            UniqueKeyConflictError: another task has its unique key now.
        """
        record = await self.known(task_id)
        if record is None:
            return False
        entry = self._prepared(record, decision)
        if isinstance(entry, str):
            return False
        await self._shared.write([entry], lambda error: self._over([entry], error))
        return True

    async def many(self, ids: Sequence[str], decision: Decision, changed: Changed) -> None:
        """Change tasks; ``changed`` says what came of it, also if this is interrupted.

        Raises:
            StorageError: one slice could not be written; those before it were.
        """
        todo = ids
        while todo:
            todo = await self._round(todo, decision, changed)
            if todo:  # somebody else changes them: look again when this is known
                await self._shared.storage.flush()
                await asyncio.sleep(0)

    async def _round(self, ids: Sequence[str], decision: Decision, changed: Changed) -> list[str]:
        """Change what nobody else changes just now; return the others."""
        shared = self._shared
        later: list[str] = []
        with shared.reading() as stale:
            asked = [one for one in ids if one not in shared.live]
            found = await shared.storage.stored(asked) if asked else {}
            gone = set(asked).difference(found)
            for at in range(0, len(ids), SLICE):
                entries: list[Entry] = []
                for one in ids[at : at + SLICE]:
                    record = shared.live.get(one) or (None if one in stale else found.get(one))
                    if record is None and one in gone and one not in stale:
                        changed.leave(one, UNKNOWN)
                    elif record is None or shared.storage.in_flight(record):
                        later.append(one)
                    else:
                        self._decide(record, decision, entries, changed)
                await self._write(entries, changed)
        return later

    def _decide(
        self, record: TaskRecord, decision: Decision, entries: list[Entry], changed: Changed
    ) -> None:
        try:
            entry = self._prepared(record, decision)
        except UniqueKeyConflictError as error:
            entry = str(error)
        if isinstance(entry, str):
            changed.leave(record.id, entry)
        else:
            entries.append(entry)

    async def _write(self, entries: list[Entry], changed: Changed) -> None:
        if not entries:
            await asyncio.sleep(0)
            return

        def over(error: BaseException | None) -> None:
            self._over(entries, error)
            if error is None:
                changed.count += len(entries)

        await self._shared.write(entries, over)
        while self._shared.storage.full:  # callers would be slowed down
            await self._shared.storage.room()
            await asyncio.sleep(PAUSE_SECONDS)

    def _prepared(self, record: TaskRecord, decision: Decision) -> Entry | str:
        """Return what to write of a task, which memory holds from now on; or why nothing.

        Raises:
            UniqueKeyConflictError: another task has its unique key now.
        """
        transition = decision(record, naive_now(self._shared.clock))
        if isinstance(transition, str):
            return transition
        if transition.from_status in TERMINAL:
            self._keys.retake(record)
        elif transition.to_status in CLAIMABLE and self._in_lanes(record):
            record = _apart(record)
        self._shared.live[record.id] = record  # others that change it now find this very record
        self._shared.left_memory(record.id)  # a page read before may still show it as it was
        return record, transition

    def _in_lanes(self, record: TaskRecord) -> bool:
        waits = record.id in self._dependents or decide.is_unfit(record)
        return record.id in self._shared.live and not waits

    def _over(self, entries: Sequence[Entry], error: BaseException | None) -> None:
        """Go on once it is known whether changes are on disk."""
        for record, transition in entries:
            if error is not None:
                self._unchanged(record)
            elif record.version == transition.seq:
                self._changed(record, transition)
            elif transition.from_status in TERMINAL and (transition.data or {}).get("waiting"):
                self._dependents.adopt(record)  # it is being cancelled, which may fail

    def _unchanged(self, record: TaskRecord) -> None:
        """Go back to where the record stands when its change could not be written."""
        if record.status in TERMINAL:
            self._shared.ended(record)
        elif record.id in self._dependents:
            self._dependents.unchanged(record)
        elif decide.is_unfit(record):
            self._unfit.take(record)
        elif record.status in CLAIMABLE:
            self._pool(record.category).restore(record)

    def _changed(self, record: TaskRecord, transition: Transition) -> None:
        if record.status in CLAIMABLE:
            self._waits(record, transition)
            return
        pool = self._pool(record.category)
        attempt = pool.running.get(record.id)
        if attempt is not None:
            pool.runs.let_go(attempt)
        self._shared.ended(record)

    def _waits(self, record: TaskRecord, transition: Transition) -> None:
        """Put a task where it waits from now on."""
        if transition.from_status in TERMINAL and record.schedule is not None:
            self._scheduled(record)
        if decide.is_unfit(record):
            self._unfit.take(record)
            return
        if record in self._unfit:
            self._unfit.forget(record)
        if transition.from_status in TERMINAL and record.waiting:
            self._dependents.adopt(record)
        elif record.id in self._dependents:
            self._dependents.unchanged(record)
            self._shared.left_memory(record.id)
        else:
            self._pool(record.category).push(record)


def _apart(record: TaskRecord) -> TaskRecord:
    """Return the task as another record, and let the lanes drop the one that they hold."""
    assert record.status in LIVE, "what has ended is in no lane"
    fresh = TaskRecord.from_row(record.row())
    record.status = TaskStatus.CANCELLED
    return fresh
