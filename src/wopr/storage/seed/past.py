"""Old tasks of somebody's four calls: they are deleted by age only, and there is no archive."""

from __future__ import annotations

from wopr.domain.errors import StorageError
from wopr.domain.keeping import Old
from wopr.domain.logline import LogLine
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition


class SeedPast:
    """The part of the port that a storage without an archive can't have."""

    archive = None

    async def retire(self, which: Old, *, archive: bool) -> int:
        """Refuse: the four calls know no such thing."""
        raise StorageError(
            "This storage can't delete or archive tasks by their status. Use the DuckDB storage "
            "(no storage_factory), or cleanup_old_tasks()."
        )

    async def archived(self, task_id: str) -> TaskRecord | None:
        """Return nothing: there is no archive."""
        return None

    async def archived_history(self, record: TaskRecord) -> list[Transition]:
        """Return nothing: there is no archive."""
        return []

    async def archived_logs(self, record: TaskRecord, limit: int) -> list[LogLine]:
        """Return nothing: there is no archive."""
        return []
