"""The verbs of a queue that many hosts share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from wopr.domain.errors import TaskNotFoundError
from wopr.domain.keeping import Old
from wopr.domain.logline import LogLine
from wopr.domain.newtask import NewTask
from wopr.domain.rule import Rule
from wopr.domain.status import CLAIMABLE, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.fleet.absent import COPY, absent
from wopr.fleet.archived import Archived
from wopr.fleet.fleet import Fleet
from wopr.fleet.workers import workers_of
from wopr.ports.answers import Explanation, HistoryEntry, QueryResult, WorkerInfo, entry
from wopr.ports.backend import ActBackend, RuleBackend, ScheduleBackend
from wopr.ports.status import About, GroupExplanation, Status
from wopr.ports.storage import QueryLimits, Snapshot, TaskFilter
from wopr.storage.postgres import statements
from wopr.storage.postgres.retirement import Retirement


class Operators(Protocol):
    """What operators do: verbs over many tasks, and settings; each is an act."""

    @property
    def rules(self) -> RuleBackend:
        """What is set at run time."""
        ...

    @property
    def acts(self) -> ActBackend:
        """What is done to many tasks at once, and who did what."""
        ...

    async def revoke(self, rule: Rule) -> int:
        """Cancel the live tasks that a revocation is about; return how many."""
        ...

    async def note(
        self, verb: str, selection: Mapping[str, Any], detail: Mapping[str, Any], **more: Any
    ) -> None:
        """Write down what was done."""
        ...


class Asking(Protocol):
    """Who answers questions in SQL."""

    async def sql(self, query: str, params: Sequence[Any], limits: QueryLimits) -> QueryResult:
        """Run one read-only query."""
        ...


class Keeping(Protocol):
    """Who lets old tasks go."""

    async def archive(self, before: datetime, directory: Path | None) -> tuple[int, bool]:
        """Archive, for some seconds, what ended until then; return how many, and if that is all."""
        ...


class Standing(Protocol):
    """Who says why tasks stand where they stand."""

    async def explain(self, record: TaskRecord) -> Explanation:
        """Say it of one task."""
        ...

    async def explain_group(self, about: About, target: str) -> GroupExplanation:
        """Say it of those of a category, a name, a flow or a schedule."""
        ...

    async def status(self, *, brief: bool = False) -> Status:
        """Say whether work flows, and why not."""
        ...


class FleetBackend:
    """The verbs, carried out by this process on the tables that all hosts share."""

    def __init__(
        self,
        fleet: Fleet,
        schedules: ScheduleBackend,
        operators: Operators,
        asking: Asking,
        keeping: Keeping,
        archived: Archived,
        standing: Standing,
        *,
        staff: Callable[[str, int], Awaitable[int]],
    ) -> None:
        self.fleet = fleet
        self.sql = asking.sql
        self.archive = keeping.archive
        self._staff = staff
        """Adds workers of a category to those of this process; gives how many it has then."""
        self.schedules = schedules
        self.rules = operators.rules
        self.acts = operators.acts
        self.revoke = operators.revoke
        self._note = operators.note
        self.add_many = fleet.adding.add_many
        self.check_room = fleet.adding.check_room
        self.add_flow = fleet.adding.add_flow
        self.cancel = fleet.cancel
        self.retry = fleet.retry
        self.recover = fleet.owner.recover
        self.status = standing.status
        self.explain_group = standing.explain_group
        self._store = fleet.parts.store
        self._archived = archived
        self._explain = standing.explain

    def add(self, new: NewTask) -> Coroutine[Any, Any, str]:
        """Add one task; return its id once it is durable."""
        return self.fleet.adding.add(new)

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return a task, also one that was archived.

        Its progress is that of now where it runs in this process.
        """
        record = await self._store.get(task_id)
        if record is None:
            return await self._archived.get(task_id)
        for pool in self.fleet.pools.values():
            attempt = pool.running.get(task_id)
            if attempt is not None and attempt.record.version == record.version:
                return attempt.record
        return record

    async def find(self, query: TaskFilter, cursor: str | None) -> list[TaskRecord]:
        """Return matching tasks, newest first; after the task ``cursor``, if given."""
        if cursor is not None:
            last = await self.get(cursor)
            if last is None:
                raise TaskNotFoundError(f"cursor={cursor!r} is no task of this queue (any more).")
            query = replace(query, before_seq=last.seq)
        return await self._store.find(query)

    async def add_workers(self, category: str, count: int) -> int:
        """Add workers of a category to those of this host; return how many it has."""
        total = await self._staff(category, count)
        detail = {"added": count, "workers": total}
        await self._note("add-workers", {"category": category}, detail, changed=count)
        return total

    async def cleanup(self, before: datetime, *, keep_history: bool) -> int:
        """Delete terminal tasks completed before a moment (naive UTC); return how many."""
        retirement = Retirement(self._store.connections)
        count = await retirement.delete_all(Old(before=before), keep_history=keep_history)
        if count:
            said = {"completed until": before.isoformat(), "keep_history": keep_history}
            await self._note("cleanup", said, {}, changed=count)
        return count

    async def wait(self, task_id: str, timeout: float | None) -> TaskRecord:
        """Return the task's record once it has ended.

        Raises:
            TaskNotFoundError: no such task.
            TimeoutError: it did not end in time.
        """
        try:
            return await self.fleet.waiting.wait(task_id, timeout)
        except TaskNotFoundError:
            record = await self._archived.get(task_id)
            if record is None:
                raise
            return record

    async def stats(self) -> dict[str, Any]:
        """Return exact counts as plain dicts, all of one moment."""
        counts = await self._store.counts()
        unfit = await self._store.connections.rows(statements.UNFIT_COUNTS)
        held = [
            {
                "reason": "does not fit",
                "tasks": [name],
                "count": count,
                "text": f"Tasks '{name}' that do not fit the function of this name: {count}.",
            }
            for name, count in unfit
        ]
        stats = {
            "total": sum(counts.by_status.values()),
            "by_status": dict(counts.by_status),
            "by_category": dict(counts.by_category),
            "running": counts.by_status.get(TaskStatus.STARTED.value, 0),
            "queued": sum(counts.by_status.get(status.value, 0) for status in CLAIMABLE),
        }
        return {**stats, "held": held} if held else stats

    async def explain(self, task_id: str) -> Explanation:
        """Say why a task stands where it stands."""
        record = await self.get(task_id)
        if record is None:
            raise TaskNotFoundError(f"There is no task {task_id!r} in this queue.")
        return await self._explain(record)

    async def history(self, task_id: str) -> list[HistoryEntry]:
        """Return a task's transitions in order; empty if it is unknown."""
        found = await self._store.history(task_id) or await self._archived.history(task_id)
        return [entry(one) for one in found]

    async def logs(self, task_id: str, limit: int) -> list[LogLine]:
        """Return the first lines that a task logged, in order; those of this host, all of them."""
        await self.fleet.lines.written()
        found = await self._store.logs(task_id, limit)
        if not found and await self._store.get(task_id) is None:
            found = await self._archived.logs(task_id, limit)
        return found

    async def workers(self) -> list[WorkerInfo]:
        """Return the workers of all hosts by category and name."""
        return await workers_of(self.fleet)

    async def backup(self) -> Snapshot:
        """Refuse: the server has tools for that."""
        absent(COPY)

    async def snapshot(self, *, own: bool = False) -> Snapshot:
        """Refuse: the database itself can be asked."""
        absent(COPY)
