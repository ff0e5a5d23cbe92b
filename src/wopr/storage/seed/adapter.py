"""Make an engine's storage of an object that offers only the seed's four calls."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from wopr.domain.clock import Clock, naive_now
from wopr.domain.errors import QueryError, StorageError, WoprError
from wopr.domain.fold import apply
from wopr.domain.guarded import safe_text, type_name
from wopr.domain.place import is_at_front, place
from wopr.domain.snapshot import parents_of, record_of
from wopr.domain.status import CLAIMABLE, LIVE, Move, TaskStatus
from wopr.domain.task import TaskInfo, TaskRecord
from wopr.domain.transition import Transition
from wopr.ports.seedstorage import SeedStorage
from wopr.ports.storage import (
    PAGE_BYTES,
    Counts,
    Done,
    Entry,
    LaneCount,
    QueryLimits,
    QueryRows,
    Snapshot,
    TaskFilter,
    weight,
)
from wopr.storage.seed.past import SeedPast
from wopr.storage.seed.selecting import SeedSelecting


class SeedStorageAdapter(SeedSelecting, SeedPast):
    """Keeps what the four calls can't answer in memory, for the life of the process.

    As durable as the storage beneath; history lasts as long as the process.
    """

    def __init__(
        self, storage: SeedStorage, info: Callable[[TaskRecord], TaskInfo], clock: Clock
    ) -> None:
        super().__init__()
        self._storage = storage
        self._info = info
        self._clock = clock
        self._seq = 0
        self._writes: asyncio.Queue[tuple[list[TaskInfo], list[Any], Done]] = asyncio.Queue()
        self._writing: asyncio.Task[None] | None = None
        self._committed = 0

    async def open(self) -> None:
        """Read what the storage holds, the oldest first."""
        self._writing = asyncio.get_running_loop().create_task(self._write())
        found = await _awaited(self._storage.get_tasks(limit=1_000_000))
        infos = [item for item in found if isinstance(item, TaskInfo)] if _is_list(found) else []
        # Ids follow the order of enqueueing within a process, times only to the microsecond.
        for info in sorted(infos, key=lambda item: (item.created_at.timestamp(), item.id)):
            self._remember(info)

    def _remember(self, info: TaskInfo) -> TaskRecord:
        self._seq += 1
        record = record_of(info)
        record.seq = self._seq
        record.stored = record.row()
        self._records[record.id] = record
        return record

    async def close(self) -> None:
        """Finish all writes."""
        if self._writing is not None:
            await self.flush()
            self._writing.cancel()
            self._writing = None

    def submit(
        self, entries: Sequence[Entry], done: Done, *, urgent: bool = True, now: bool = False
    ) -> None:
        """Apply the transitions and save each task once; see the port."""
        undo = {record.id: (record, record.stored) for record, _ in entries}
        for record, transition in entries:
            self._seq += 1
            transition.seq = self._seq
            if transition.move is Move.ADD:
                record.seq = self._seq
            apply(record, transition)
            self._log.append(transition)
        for record, _ in undo.values():
            record.stored = record.row()
            self._records[record.id] = record
        infos = [self._info(record) for record, _ in undo.values()]
        self._writes.put_nowait((infos, list(undo.values()), done))

    async def _write(self) -> None:
        while True:
            infos, undo, done = await self._writes.get()
            error: BaseException | None = None
            try:
                for info in infos:
                    await _awaited(self._storage.save_task(info))
            except Exception as failure:  # noqa: BLE001 - whatever it is, the caller has to know
                error = self._refused(failure)
                for record, row in undo:
                    if row:
                        record.load(row)
                    else:
                        self._records.pop(record.id, None)
            self._committed = max(self._committed, *(item[0].version for item in undo))
            done(error)
            self._writes.task_done()

    def _refused(self, failure: Exception) -> WoprError:
        if isinstance(failure, WoprError):
            return failure
        error = StorageError(
            f"{type(self._storage).__name__}.save_task() raised {type_name(failure)}: "
            f"{safe_text(failure)}. Nothing was acknowledged; the call can be repeated."
        )
        error.__cause__ = failure
        return error

    def in_flight(self, record: TaskRecord) -> bool:
        """Whether the record shows a transition that is not saved yet."""
        return record.version > self._committed

    async def flush(self) -> None:
        """Return when everything submitted so far was saved or refused."""
        await self._writes.join()

    @property
    def newest(self) -> int:
        """The number of the newest transition."""
        return self._seq

    @property
    def journal(self) -> None:
        """Nothing is ever behind: see the port."""

    @property
    def full(self) -> bool:
        """Whether very much is pending."""
        return self._writes.qsize() > 20_000

    @property
    def overfull(self) -> bool:
        """Whether too much is pending for anything more to begin."""
        return self._writes.qsize() > 25_000

    def hurry(self) -> None:
        """Nothing lingers here."""

    async def room(self) -> None:
        """Wait until all is saved."""
        await self.flush()

    def touch(self, record: TaskRecord) -> None:
        """Save the progress."""
        self._writes.put_nowait(([self._info(record)], [(record, record.stored)], lambda _: None))

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return the task as it is saved."""
        record = self._records.get(task_id)
        if record is None:
            info = await _awaited(self._storage.get_task(task_id))
            return self._remember(info) if isinstance(info, TaskInfo) else None
        return TaskRecord.from_row(record.stored)

    async def get_many(self, task_ids: Sequence[str]) -> dict[str, TaskRecord]:
        """Return those of the tasks that there are, as they are saved."""
        found = [await self.get(task_id) for task_id in task_ids]
        return {record.id: record for record in found if record is not None}

    stored = get_many

    async def statuses(self, task_ids: Sequence[str]) -> dict[str, TaskStatus]:
        """Return the saved status of those of the tasks that there are."""
        return {one: record.status for one, record in (await self.get_many(task_ids)).items()}

    async def waiting(
        self, after_seq: int, limit: int, *, most_bytes: int = PAGE_BYTES
    ) -> list[TaskRecord]:
        """Return a page of tasks that wait for others, in enqueue order."""
        found = [
            record
            for record in self._records.values()
            if record.waiting and record.seq > after_seq and record.status is TaskStatus.PENDING
        ]
        return _page(found, limit, most_bytes)

    async def find(self, query: TaskFilter) -> list[TaskRecord]:
        """Return matching tasks, newest first."""
        await self.flush()
        found = [
            record
            for record in sorted(self._records.values(), key=lambda item: -item.seq)
            if query.category in (None, record.category)
            and query.status in (None, record.status)
            and query.name in (None, record.name)
            and query.flow_id in (None, record.flow_id)
            and query.schedule in (None, record.schedule)
            and (query.before_seq is None or record.seq < query.before_seq)
        ]
        return found[query.offset : query.offset + query.limit]

    async def ready(
        self,
        category: str,
        priority: int,
        after_seq: int,
        now: datetime,
        skip: Sequence[str],
        limit: int,
        *,
        most_bytes: int = PAGE_BYTES,
        at_front: bool | None = None,
    ) -> list[TaskRecord]:
        """Return a page of waiting tasks due at ``now``, in the order of their places."""
        found = [
            record
            for record in self._waiting(category, skip)
            if record.priority == priority
            and at_front in (None, is_at_front(record))
            and (place(record) if at_front else record.seq) > after_seq
            and (record.run_at is None or record.run_at <= now)
        ]
        if at_front:
            return _cut(sorted(found, key=place)[:limit], most_bytes)
        return _page(found, limit, most_bytes)

    async def delayed(
        self,
        category: str,
        not_before: datetime,
        skip: Sequence[str],
        limit: int,
        *,
        most_bytes: int = PAGE_BYTES,
    ) -> list[TaskRecord]:
        """Return a page of waiting tasks due at or after ``not_before``, the earliest first."""
        found = [
            (record.run_at, record.seq, record)
            for record in self._waiting(category, skip)
            if record.run_at is not None and record.run_at >= not_before
        ]
        ordered = [record for _, _, record in sorted(found, key=lambda item: item[:2])]
        return _cut(ordered[:limit], most_bytes)

    def _waiting(self, category: str, skip: Sequence[str]) -> list[TaskRecord]:
        return [
            record
            for record in self._records.values()
            if record.status in CLAIMABLE
            and not record.waiting
            and record.category == category
            and record.name not in skip
            and not self.in_flight(record)
        ]

    async def lanes(self, now: datetime) -> list[LaneCount]:
        """Return the lanes that have waiting tasks."""
        due: Counter[tuple[str, int]] = Counter()
        later: Counter[tuple[str, int]] = Counter()
        front: Counter[tuple[str, int]] = Counter()
        for record in self._records.values():
            if record.status in CLAIMABLE and not record.waiting:
                waits = record.run_at is not None and record.run_at > now
                (later if waits else due)[record.category, record.priority] += 1
                front[record.category, record.priority] += is_at_front(record)
        lanes = sorted(due.keys() | later.keys())
        return [LaneCount(*lane, due[lane], later[lane], front[lane]) for lane in lanes]

    async def orphans(
        self, after_seq: int, limit: int, *, most_bytes: int = PAGE_BYTES
    ) -> list[TaskRecord]:
        """Return a page of the STARTED tasks, in enqueue order."""
        found = [
            item
            for item in self._records.values()
            if item.status is TaskStatus.STARTED and item.seq > after_seq
        ]
        return _page(found, limit, most_bytes)

    async def unique_keys(self) -> dict[str, str]:
        """Return key -> task id of all live tasks that have a key."""
        return {
            record.unique_key: record.id
            for record in self._records.values()
            if record.unique_key is not None and record.status in LIVE
        }

    async def counts(self) -> Counts:
        """Return exact counts of all tasks."""
        await self.flush()
        records = self._records.values()
        return Counts(
            dict(Counter(record.status.value for record in records)),
            dict(Counter(record.category for record in records)),
        )

    async def position(self, record: TaskRecord, now: datetime) -> int:
        """Return how many waiting tasks of its category start before this one."""
        own = (-record.priority, place(record))
        return sum(
            (-item.priority, place(item)) < own and (item.run_at is None or item.run_at <= now)
            for item in self._waiting(record.category, ())
        )

    async def history(self, task_id: str) -> list[Transition]:
        """Return the transitions that this process made."""
        await self.flush()
        return [item for item in self._log if item.task_id == task_id]

    async def query(self, sql: str, params: Sequence[Any], limits: QueryLimits) -> QueryRows:
        """Refuse: there is no SQL here."""
        raise self._no_sql()

    async def snapshot(self, *, own: bool = False) -> Snapshot:
        """Refuse: there is no SQL here."""
        raise self._no_sql()

    async def backup(self) -> Snapshot:
        """Refuse: where it is stored is not known."""
        raise StorageError(f"{type(self._storage).__name__} makes its own backups.")

    def disk(self) -> None:
        """Return nothing: where it is stored is not known."""

    def _no_sql(self) -> QueryError:
        return QueryError(
            f"{type(self._storage).__name__} has no SQL. Use the DuckDB storage (no "
            "storage_factory) to query the history."
        )

    async def forget(self, now: datetime) -> tuple[int, None]:
        """Delete nothing: there is no call that deletes one task."""
        return 0, None

    async def cleanup(self, before: datetime, *, keep_history: bool) -> int:
        """Delete terminal tasks completed before a moment."""
        await self.flush()
        live = [item for item in self._records.values() if item.status in LIVE]
        needed = {parent for item in live for parent in parents_of(item)}
        doomed = [
            item
            for item in self._records.values()
            if item.status not in LIVE
            and item.completed_at
            and item.completed_at <= before
            and item.id not in needed
        ]
        for record in doomed:
            del self._records[record.id]
        ids = {record.id for record in doomed}
        self._forget_lines(ids)
        if not keep_history:
            self._log = [item for item in self._log if item.task_id not in ids]
        self._forget_acts(before)
        age = naive_now(self._clock) - before
        await _awaited(self._storage.cleanup_old_tasks(days=max(0, age // timedelta(days=1))))
        return len(doomed)


def _page(found: list[TaskRecord], limit: int, most_bytes: int) -> list[TaskRecord]:
    """Return the first of what was found, in enqueue order."""
    return _cut(sorted(found, key=lambda item: item.seq)[:limit], most_bytes)


def _cut(found: list[TaskRecord], most_bytes: int) -> list[TaskRecord]:
    """Return the first ones, up to the one that brings them to so many bytes."""
    size = 0
    for at, record in enumerate(found):
        size += weight(record)
        if size >= most_bytes:
            return found[: at + 1]
    return found


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)
