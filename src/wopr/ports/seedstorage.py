"""The port of somebody's own storage: four calls."""

from __future__ import annotations

from typing import Any, Protocol

from wopr.domain.task import TaskInfo


class SeedStorage(Protocol):
    """The four calls a minimal storage offers; each may also be a coroutine."""

    def save_task(self, task_info: TaskInfo) -> Any:
        """Write the whole task, new or known."""
        ...

    def get_task(self, task_id: str) -> Any:
        """Return the task or ``None``."""
        ...

    def get_tasks(self, **kwargs: Any) -> Any:
        """Return matching tasks, newest first."""
        ...

    def cleanup_old_tasks(self, **kwargs: Any) -> Any:
        """Delete finished tasks by age; return how many."""
        ...
