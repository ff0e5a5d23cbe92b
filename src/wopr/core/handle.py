"""An enqueued task, by its id."""

from __future__ import annotations

from typing import Generic, TypeVar

from wopr.core.core import Core
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskInfo

R_co = TypeVar("R_co", covariant=True)


class TaskHandle(Generic[R_co]):
    """An enqueued task, by its id. Can be made anew from the id with ``queue.handle(id)``."""

    __slots__ = ("_core", "id")

    def __init__(self, core: Core, task_id: str) -> None:
        self._core = core
        self.id = task_id

    def __repr__(self) -> str:
        return f"<TaskHandle {self.id}>"

    async def result(self, timeout: float | None = None) -> R_co:
        """Wait until the task has ended and return its result.

        Args:
            timeout: seconds to wait at most; ``None`` waits for ever.

        Raises:
            TaskFailedError: it ended FAILED.
            TaskCancelledError: it ended CANCELLED.
            TimeoutError: it did not end in time. It goes on.
            TaskNotFoundError: the queue does not know it (any more).
        """
        value: R_co = await self._core.result(self.id, timeout)
        return value

    async def info(self) -> TaskInfo:
        """Return a snapshot of the task.

        Raises:
            TaskNotFoundError: the queue does not know it (any more).
        """
        return await self._core.known_info(self.id)

    async def status(self) -> TaskStatus:
        """Return the task's status.

        Raises:
            TaskNotFoundError: the queue does not know it (any more).
        """
        return (await self.info()).status

    async def cancel(self) -> bool:
        """Cancel the task; ``False`` if it has ended already."""
        return await self._core.cancel(self.id)
