"""What a queue can be asked about its present and past: the reads of :class:`wopr.TaskQueue`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from wopr.access.access import Access
from wopr.calls.tasks import check_count, check_query, check_seconds
from wopr.domain.checks import check_id, check_label
from wopr.domain.errors import (
    InvalidCallError,
    OwnerGoneError,
    QueueDisabledError,
    TaskNotFoundError,
)
from wopr.domain.jsontext import shown
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskInfo, TaskRecord
from wopr.ports.answers import Explanation, HistoryEntry, QueryResult
from wopr.ports.backend import Backend
from wopr.ports.storage import TaskFilter

A = TypeVar("A")
B = TypeVar("B")


class Insights:
    """Reads. A queue that is switched off, or has no file yet, answers empty."""

    enabled: bool
    database: Path
    _opening: Access

    async def get_task_info(self, task_id: str) -> TaskInfo | None:
        """Return a snapshot of a task; ``None`` if it is unknown or the queue is switched off."""
        wanted = check_id(task_id)
        record = await self._ask(lambda backend: backend.get(wanted), None)
        return None if record is None else self._opening.info(record)

    async def require_task_info(self, task_id: str) -> TaskInfo:
        """Return a snapshot of a task.

        Raises:
            TaskNotFoundError: the queue does not know it (any more).
        """
        info = await self.get_task_info(task_id)
        if info is None:
            raise TaskNotFoundError(f"There is no task {task_id!r} in {self.database}.")
        return info

    async def wait(self, task_id: str, timeout: float | None = None) -> TaskInfo:
        """Wait until a task has ended and return its snapshot.

        Args:
            task_id: of any task of this queue.
            timeout: seconds to wait at most; ``None`` waits for ever.

        Raises:
            TaskNotFoundError: the queue does not know it.
            TimeoutError: it did not end in time. It goes on.
            QueueDisabledError: the queue is switched off.
        """
        if not self.enabled:
            raise QueueDisabledError
        task_id = check_id(task_id)
        patience = None if timeout is None else check_seconds(timeout, "timeout", zero="allow")
        loop, left = asyncio.get_running_loop(), patience
        until = None if patience is None else loop.time() + patience

        async def wait(backend: Backend) -> TaskRecord:
            nonlocal left
            try:
                return await backend.wait(task_id, left)
            finally:
                left = None if until is None else max(0.0, until - loop.time())

        record = await self._ask(wait, None)
        if record is None:
            raise TaskNotFoundError(f"There is no task {task_id!r} in {self.database}.")
        return self._opening.info(record)

    async def get_tasks(
        self,
        category: str | None = None,
        status: TaskStatus | str | None = None,
        name: str | None = None,
        limit: int = 100,
        offset: int = 0,
        cursor: str | None = None,
        *,
        flow_id: str | None = None,
        schedule: str | None = None,
    ) -> list[TaskInfo]:
        """Return tasks, newest first.

        Args:
            category: only of this category.
            status: only in this status.
            name: only of this task.
            limit: at most so many.
            offset: leave out so many of the newest.
            cursor: the id of the last task of the page before; cheaper than ``offset``.
            flow_id: only of this flow.
            schedule: only those that this schedule enqueued.

        Raises:
            InvalidCallError: a value can't be what it has to be.
        """
        query = TaskFilter(
            category=None if category is None else check_label(category, "category"),
            status=None if status is None else _status(status),
            name=None if name is None else check_label(name, "name"),
            flow_id=None if flow_id is None else check_id(flow_id),
            schedule=None if schedule is None else check_label(schedule, "schedule"),
            limit=check_count(limit, "limit", most=1_000_000),
            offset=check_count(offset, "offset"),
        )
        after = None if cursor is None else check_id(cursor)
        none: list[TaskRecord] = []
        found = await self._ask(lambda backend: backend.find(query, after), none)
        return [self._opening.info(item) for item in found]

    async def get_task_stats(self) -> dict[str, Any]:
        """Return exact counts: total, by_status, by_category, running and queued."""
        nothing = {"total": 0, "by_status": {}, "by_category": {}, "running": 0, "queued": 0}
        return await self._ask(lambda backend: backend.stats(), nothing)

    async def sql(self, query: str, *params: Any) -> QueryResult:
        """Run one read-only SQL query; it sees everything enqueued before.

        Args:
            query: one SELECT; ``?`` stands for a parameter. Tables ``tasks`` and
                ``transitions``, and the views of the reference.
            *params: the values, in order.

        Raises:
            QueryError: it was refused, or it failed.
            QueryTimeoutError: it took longer than ``WOPR_TASKS_QUERY_SECONDS``.
            QueueDisabledError: the queue is switched off.
        """
        if not self.enabled:
            raise QueueDisabledError
        text = check_query(query, params)
        return await (await self._opening.backend()).sql(text, params)

    async def explain(self, task_id: str) -> Explanation:
        """Say why a task stands where it stands: running, delayed or behind others.

        Raises:
            TaskNotFoundError: the queue does not know it.
        """
        wanted = check_id(task_id)
        found = await self._ask(lambda backend: backend.explain(wanted), None)
        if found is None:
            raise TaskNotFoundError(f"There is no task {task_id!r} in {self.database}.")
        return found

    async def get_history(self, task_id: str) -> list[HistoryEntry]:
        """Return every transition of a task, in order; empty if it is unknown."""
        wanted = check_id(task_id)
        return await self._ask(lambda backend: backend.history(wanted), [])

    async def _ask(self, ask: Callable[[Backend], Awaitable[A]], nothing: B) -> A | B:
        """Ask whoever has the file; again, should that one go: a look changes nothing."""
        while True:
            backend = await self._reading()
            if backend is None:
                return nothing
            with contextlib.suppress(OwnerGoneError):
                return await ask(backend)

    async def _reading(self) -> Backend | None:
        """Return the backend for a read; ``None`` if there is nothing to read."""
        if not self.enabled or not self._opening.exists():
            return None
        return await self._opening.backend()


def _status(value: object) -> TaskStatus:
    try:
        if isinstance(value, str):
            return TaskStatus(str.__str__(value))
    except ValueError:
        pass
    names = ", ".join(status.value for status in TaskStatus)
    raise InvalidCallError(f"status must be one of {names}, not {shown(value)}.")
