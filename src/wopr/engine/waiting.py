"""Who waits for the end of a task."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from wopr.domain.errors import TaskNotFoundError
from wopr.domain.status import TERMINAL
from wopr.domain.task import TaskRecord
from wopr.engine.joins import Joins
from wopr.engine.shared import Shared

_NO_TASK = contextlib.nullcontext()


class Waiters:
    """Lets callers wait until tasks have ended."""

    def __init__(
        self,
        shared: Shared,
        known_record: Callable[[str], Awaitable[TaskRecord | None]],
        joins: Joins,
    ) -> None:
        self._shared = shared
        self._joining = joins.joining
        self._known_record = known_record

    async def wait(self, task_id: str, timeout: float | None) -> TaskRecord:
        """Return the task's record once it has ended.

        Raises:
            TaskNotFoundError: no such task.
            TimeoutError: it did not end in time.
        """
        waiters = self._shared.waiters
        future: asyncio.Future[TaskRecord] = self._shared.loop.create_future()
        futures = waiters.setdefault(task_id, [])
        futures.append(future)  # before looking, so that no ending is missed
        try:
            record = self._will_end(task_id)
            if record is None:
                record = await self._known_record(task_id)
                record = record or await self._shared.storage.archived(task_id)
                if record is None:
                    raise TaskNotFoundError(f"There is no task {task_id!r} in this queue.")
                if record.status in TERMINAL:
                    return record
            joining = self._joining(record)
            if joining is None and timeout is None:
                return await future
            async with joining or _NO_TASK, asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise TimeoutError(
                f"Task {task_id} did not end within {timeout:g} s. It goes on; "
                f"`wopr tasks explain {task_id}` says what it waits for."
            ) from None
        finally:
            futures = waiters.get(task_id, [])
            if future in futures:
                futures.remove(future)
                if not futures:
                    del waiters[task_id]

    def _will_end(self, task_id: str) -> TaskRecord | None:
        """Return a task that runs, or whose end is being written: then its end is told."""
        record, storage = self._shared.live.get(task_id), self._shared.storage
        if record is None:
            return None
        if not storage.in_flight(record):
            return record if record.status not in TERMINAL else None
        if record.status in TERMINAL and record.attempt:
            storage.hurry()
            return record
        return None
