"""NoopStorage: stands in when the queue is switched off."""

from __future__ import annotations

from typing import Any

from wopr.domain.task import TaskInfo


class NoopStorage:
    """Accepts everything, keeps nothing, never raises; no file, no thread, no duckdb."""

    def save_task(self, task_info: TaskInfo) -> None:
        """Forget the task."""

    def get_task(self, task_id: str) -> TaskInfo | None:
        """Return ``None``: there are no tasks."""
        return None

    def get_tasks(self, **kwargs: Any) -> list[TaskInfo]:
        """Return no tasks."""
        return []

    def cleanup_old_tasks(self, **kwargs: Any) -> int:
        """Delete nothing; return 0."""
        return 0
