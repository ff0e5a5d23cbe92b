"""Who waits here for the end of a task, wherever that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from wopr.domain.errors import TaskNotFoundError
from wopr.domain.status import TERMINAL
from wopr.domain.task import TaskRecord
from wopr.fleet.parts import Parts

MOST_AT_ONCE = 1_000


class Waiting:
    """Lets callers wait until tasks have ended."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._futures: dict[str, list[asyncio.Future[TaskRecord]]] = {}

    def __bool__(self) -> bool:
        return bool(self._futures)

    async def wait(self, task_id: str, timeout: float | None) -> TaskRecord:
        """Return the task's record once it has ended.

        Raises:
            TaskNotFoundError: no such task.
            TimeoutError: it did not end in time.
        """
        future: asyncio.Future[TaskRecord] = self._parts.around.loop.create_future()
        futures = self._futures.setdefault(task_id, [])
        futures.append(future)  # before looking, so that no ending is missed
        try:
            record = await self._parts.store.get(task_id)
            if record is None:
                raise TaskNotFoundError(f"There is no task {task_id!r} in this queue.")
            if record.status in TERMINAL:
                return record
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise TimeoutError(
                f"Task {task_id} did not end within {timeout:g} s. It goes on; "
                f"`wopr tasks explain {task_id}` says what it waits for."
            ) from None
        finally:
            futures.remove(future)
            if not futures:
                self._futures.pop(task_id, None)

    def ended(self, record: TaskRecord) -> None:
        """Tell who waits for a task that has ended."""
        for future in self._futures.get(record.id, ()):
            if not future.done():
                future.set_result(record)

    async def look(self, ids: Iterable[str] | None = None) -> None:
        """Look whether those of the tasks have ended for which somebody waits here."""
        wanted = (
            list(self._futures) if ids is None else [one for one in ids if one in self._futures]
        )
        for at in range(0, len(wanted), MOST_AT_ONCE):
            for record in await self._parts.store.ended(wanted[at : at + MOST_AT_ONCE]):
                self.ended(record)

    def send_away(self, error: Exception) -> None:
        """End the waiting of all: the queue is closed."""
        for futures in self._futures.values():
            for future in futures:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # seen, should nobody await it any more
