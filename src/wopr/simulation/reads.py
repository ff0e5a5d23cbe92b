"""What the simulated storage is asked: it answers with copies of what is durable."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from wopr.domain.change import Takes
from wopr.domain.errors import QueryError, StorageError
from wopr.domain.logline import LogLine
from wopr.domain.place import is_at_front, place
from wopr.domain.schedule import Schedule
from wopr.domain.selection import Selection
from wopr.domain.snapshot import parents_of
from wopr.domain.status import CLAIMABLE, LIVE, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.ports.selecting import Found
from wopr.ports.storage import (
    PAGE_BYTES,
    Counts,
    LaneCount,
    QueryLimits,
    QueryRows,
    ScheduleProgress,
    Snapshot,
    TaskFilter,
    weight,
)
from wopr.simulation.disk import Disk
from wopr.simulation.faults import Dice
from wopr.storage.seed.past import SeedPast
from wopr.storage.seed.selecting import SeedSelecting


class SimulatedReads(SeedSelecting, SeedPast):
    """Reads of what is on the simulated disk, each after all that was handed over before it."""

    def __init__(self, disk: Disk, dice: Dice) -> None:
        super().__init__()
        self._disk = disk
        self._dice = dice
        self.closed, self.dead = True, False
        self._records, self._log = disk.records, disk.log
        self._schedules, self._rules = disk.schedules, disk.rules
        self._acts, self._lines = disk.acts, disk.lines

    def _check(self) -> None:
        if self.closed:
            raise StorageError(
                "The simulated database is not open: the queue was shut down, or its process died."
            )

    async def _alive(self) -> None:
        """Return if anybody is there to answer; never, if the process died."""
        if self.dead and not self.closed:
            await asyncio.get_running_loop().create_future()
        self._check()

    async def _read(self) -> None:
        """Wait for what was handed over before; fail if the dice say so."""
        await self.flush()
        await self._alive()
        if self._dice.read_fails():
            raise StorageError("The simulated disk could not be read. Ask again.")

    @property
    def journal(self) -> None:
        """Nothing is ever behind: see the port."""

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return the task as it is on disk."""
        return (await self.get_many([task_id])).get(task_id)

    async def get_many(self, task_ids: Sequence[str]) -> dict[str, TaskRecord]:
        """Return those of the tasks that there are."""
        await self._read()
        found = (self._records.get(one) for one in task_ids)
        return {record.id: _copy(record) for record in found if record is not None}

    stored = get_many

    async def statuses(self, task_ids: Sequence[str]) -> dict[str, TaskStatus]:
        """Return the status of those of the tasks that there are."""
        return {one: record.status for one, record in (await self.get_many(task_ids)).items()}

    async def waiting(
        self, after_seq: int, limit: int, *, most_bytes: int = PAGE_BYTES
    ) -> list[TaskRecord]:
        """Return a page of tasks that wait for others, in enqueue order."""
        await self._read()
        found = (
            record
            for record in self._records.values()
            if record.waiting and record.seq > after_seq and record.status is TaskStatus.PENDING
        )
        return _page(sorted(found, key=_seq), limit, most_bytes)

    async def find(self, query: TaskFilter) -> list[TaskRecord]:
        """Return matching tasks, newest first."""
        await self._read()
        found = [
            record
            for record in sorted(self._records.values(), key=_seq, reverse=True)
            if query.category in (None, record.category)
            and query.status in (None, record.status)
            and query.name in (None, record.name)
            and query.flow_id in (None, record.flow_id)
            and query.schedule in (None, record.schedule)
            and (query.before_seq is None or record.seq < query.before_seq)
        ]
        most = PAGE_BYTES if query.most_bytes is None else query.most_bytes
        return _page(found[query.offset :], query.limit, most)

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
        await self._read()
        found = [
            record
            for record in self._claimable(category, skip)
            if record.priority == priority
            and at_front in (None, is_at_front(record))
            and (place(record) if at_front else record.seq) > after_seq
            and (record.run_at is None or record.run_at <= now)
        ]
        return _page(sorted(found, key=place if at_front else _seq), limit, most_bytes)

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
        await self._read()
        found = [
            (record.run_at, record.seq, record)
            for record in self._claimable(category, skip)
            if record.run_at is not None and record.run_at >= not_before
        ]
        return _page([one for _, _, one in sorted(found, key=lambda it: it[:2])], limit, most_bytes)

    def _claimable(self, category: str, skip: Sequence[str] = ()) -> list[TaskRecord]:
        return [
            record
            for record in self._records.values()
            if record.status in CLAIMABLE
            and not record.waiting
            and record.category == category
            and record.name not in skip
        ]

    async def lanes(self, now: datetime) -> list[LaneCount]:
        """Return the lanes that have waiting tasks."""
        await self._read()
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
        await self._read()
        found = [
            record
            for record in self._records.values()
            if record.status is TaskStatus.STARTED and record.seq > after_seq
        ]
        return _page(sorted(found, key=_seq), limit, most_bytes)

    async def unique_keys(self) -> dict[str, str]:
        """Return key -> task id of all live tasks that have a key."""
        await self._read()
        return {
            record.unique_key: record.id
            for record in self._records.values()
            if record.unique_key is not None and record.status in LIVE
        }

    async def counts(self) -> Counts:
        """Return exact counts of all tasks."""
        await self._read()
        records = self._records.values()
        return Counts(
            dict(Counter(record.status.value for record in records)),
            dict(Counter(record.category for record in records)),
        )

    async def position(self, record: TaskRecord, now: datetime) -> int:
        """Return how many waiting tasks of its category start before this one."""
        await self._read()
        own = (-record.priority, place(record))
        return sum(
            (-item.priority, place(item)) < own and (item.run_at is None or item.run_at <= now)
            for item in self._claimable(record.category)
        )

    async def history(self, task_id: str) -> list[Transition]:
        """Return the transitions of a task, in order."""
        await self._read()
        return list(self._disk.by_task.get(task_id, ()))

    async def starts(
        self, category: str, since: datetime, *, skip: int = 0, most_bytes: int | None = None
    ) -> list[tuple[datetime, TaskRecord]]:
        """Return when tasks of a category were claimed since a moment."""
        await self._read()
        found = [
            (made.occurred_at, _copy(record))
            for made in self._log
            if made.to_status is TaskStatus.STARTED
            and made.occurred_at >= since
            and (record := self._records.get(made.task_id)) is not None
            and record.category == category
        ]
        return sorted(found, key=lambda item: item[0])[skip:]

    async def backlog(self, category: str) -> int:
        """Return how many tasks of a category are PENDING or RETRY."""
        await self._read()
        return await super().backlog(category)

    async def _selected(self, which: Selection) -> list[TaskRecord]:
        await self._read()
        return await super()._selected(which)

    async def select(
        self,
        which: Selection,
        takes: Takes | None,
        limit: int,
        seconds: float,
        *,
        after: int = 0,
        unless_again_since: int | None = None,
    ) -> list[Found]:
        """Return selected tasks that a verb takes, in enqueue order."""
        await self._read()  # its first look is before that of _selected
        return await super().select(
            which, takes, limit, seconds, after=after, unless_again_since=unless_again_since
        )

    async def schedules(self) -> list[Schedule]:
        """Return all schedules, by name."""
        await self._read()
        return await super().schedules()

    async def schedule_progress(self) -> dict[str, ScheduleProgress]:
        """Return what the tasks say about each schedule that has any."""
        await self._read()
        return await super().schedule_progress()

    async def query(self, sql: str, params: Sequence[Any], limits: QueryLimits) -> QueryRows:
        """Refuse: there is no SQL here."""
        raise self._no_sql()

    async def snapshot(self, *, own: bool = False) -> Snapshot:
        """Refuse: there is no SQL here."""
        raise self._no_sql()

    async def backup(self) -> Snapshot:
        """Refuse: there is no file."""
        raise StorageError("A simulated database is in memory, so there is nothing to back up.")

    def _no_sql(self) -> QueryError:
        return QueryError("A simulated database has no SQL: it is in memory and gone afterwards.")

    def disk(self) -> None:
        """Return nothing: there is no file."""

    async def forget(self, now: datetime) -> tuple[int, None]:
        """Delete nothing: a simulation ends before that."""
        return 0, None

    async def cleanup(self, before: datetime, *, keep_history: bool) -> int:
        """Delete terminal tasks completed before a moment."""
        await self._read()
        needed = {
            parent
            for item in self._records.values()
            if item.status in LIVE
            for parent in parents_of(item)
        }
        doomed = {
            one.id
            for one in self._records.values()
            if one.status not in LIVE
            and one.completed_at is not None
            and one.completed_at <= before
            and one.id not in needed
        }
        for task_id in doomed:
            del self._records[task_id]
            if not keep_history:
                self._disk.by_task.pop(task_id, None)
        if not keep_history:
            self._log[:] = [made for made in self._log if made.task_id not in doomed]
        kept = [line for line in self._lines if line.task_id not in doomed]
        self._lines.clear()
        self._lines.extend(kept)
        self._forget_acts(before)
        return len(doomed)

    def save_logs(self, lines: Sequence[LogLine]) -> None:
        """Keep lines that tasks logged."""
        self._lines.extend(lines)


def _seq(record: TaskRecord) -> int:
    return record.seq


def _copy(record: TaskRecord) -> TaskRecord:
    return TaskRecord.from_row(record.row())


def _page(found: Iterable[TaskRecord], limit: int, most_bytes: int) -> list[TaskRecord]:
    """Return copies of the first ones, up to the one that brings them to so many bytes."""
    page: list[TaskRecord] = []
    size = 0
    for record in found:
        if len(page) == limit or size >= most_bytes:
            break
        page.append(_copy(record))
        size += weight(record)
    return page
