"""What becomes of tasks that ended long ago: the part of the storage port that lets go of them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from wopr.domain.keeping import Old
from wopr.domain.logline import LogLine
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition


class Past(Protocol):
    """Deletes old tasks, archives them before, and finds them there."""

    @property
    def archive(self) -> Path | None:
        """The directory of what was archived; ``None``: there is none."""
        ...

    async def retire(self, which: Old, *, archive: bool) -> int:
        """Delete a portion of old tasks, the oldest, once they are archived; return how many.

        Raises:
            StorageError: it can't be done; nothing was deleted.
        """
        ...

    async def archived(self, task_id: str) -> TaskRecord | None:
        """Return a task that is in the archive."""
        ...

    async def archived_history(self, record: TaskRecord) -> list[Transition]:
        """Return the transitions of an archived task, in order."""
        ...

    async def archived_logs(self, record: TaskRecord, limit: int) -> list[LogLine]:
        """Return the first lines that an archived task logged, in order."""
        ...
