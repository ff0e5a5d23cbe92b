"""The calls of the storage that read tasks and their history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.ports.storage import PAGE_BYTES, Counts, LaneCount, TaskFilter
from wopr.storage.duckdb import reads
from wopr.storage.duckdb.base import Base


class ReadCalls(Base):
    """Each brings ``tasks`` up to everything submitted before, then reads.

    One task by its id needs less: what is not folded yet is in the writer's memory.
    """

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return the task as it is on disk."""
        self._check()
        known = self._folding.pending.row(task_id)
        if known is not None:
            return TaskRecord.from_row(known)
        return await self._ask(self._reader, lambda cursor: reads.get(cursor, task_id))

    async def get_many(self, task_ids: Sequence[str]) -> dict[str, TaskRecord]:
        """Return those of the tasks that there are, as they are on disk."""
        known = self._folding.pending.row
        dirty = {one: known(one) for one in task_ids}
        found = {one: TaskRecord.from_row(row) for one, row in dirty.items() if row is not None}
        rest = [one for one in task_ids if one not in found]
        if rest:
            found |= await self._read(lambda cursor: reads.get_many(cursor, rest))
        return found

    async def statuses(self, task_ids: Sequence[str]) -> dict[str, TaskStatus]:
        """Return the status on disk of those of the tasks that there are."""
        return await self._read(lambda cursor: reads.statuses(cursor, task_ids))

    async def waiting(
        self, after_seq: int, limit: int, *, most_bytes: int = PAGE_BYTES
    ) -> list[TaskRecord]:
        """Return a page of tasks that wait for others, in enqueue order."""
        return await self._read(
            lambda cursor: reads.waiting(cursor, after_seq, limit, most_bytes=most_bytes)
        )

    async def find(self, query: TaskFilter) -> list[TaskRecord]:
        """Return matching tasks, newest first."""
        return await self._read(lambda cursor: reads.find(cursor, query))

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
        lane = category, priority, after_seq, now, skip
        return await self._read(
            lambda cursor: reads.ready(
                cursor, *lane, limit, most_bytes=most_bytes, at_front=at_front
            )
        )

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
        which = category, not_before, skip
        return await self._read(
            lambda cursor: reads.delayed(cursor, *which, limit, most_bytes=most_bytes)
        )

    async def lanes(self, now: datetime) -> list[LaneCount]:
        """Return the lanes that have waiting tasks."""
        return await self._read(lambda cursor: reads.lanes(cursor, now))

    async def orphans(
        self, after_seq: int, limit: int, *, most_bytes: int = PAGE_BYTES
    ) -> list[TaskRecord]:
        """Return a page of the STARTED tasks; at opening, their owner is dead."""
        return await self._read(
            lambda cursor: reads.orphans(cursor, after_seq, limit, most_bytes=most_bytes)
        )

    async def unique_keys(self) -> dict[str, str]:
        """Return key -> task id of all live tasks that have a key."""
        return await self._read(reads.unique_keys)

    async def counts(self) -> Counts:
        """Return exact counts of all tasks."""
        return await self._read(reads.counts)

    async def position(self, record: TaskRecord, now: datetime) -> int:
        """Return how many waiting tasks of its category start before this one."""
        return await self._read(lambda cursor: reads.position(cursor, record, now))

    async def starts(
        self, category: str, since: datetime, *, skip: int = 0, most_bytes: int | None = None
    ) -> list[tuple[datetime, TaskRecord]]:
        """Return when tasks of a category were claimed since a moment, in order."""
        return await self._read(
            lambda cursor: reads.starts(cursor, category, since, skip, most_bytes)
        )

    async def backlog(self, category: str) -> int:
        """Return how many tasks of a category are PENDING or RETRY."""
        return await self._read(lambda cursor: reads.backlog(cursor, category))

    async def history(self, task_id: str) -> list[Transition]:
        """Return the transitions of a task in order."""
        if self._folding.pending.row(task_id) is not None:  # nor is a glance to lack the newest
            await self._fold()
        return await self._read(lambda cursor: reads.history(cursor, task_id))
