"""TaskStorage: a queue's file for code that uses it by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wopr.config.settings import Settings


def TaskStorage(db_path: str | Path | None = None) -> Any:  # noqa: N802 - as its users know it
    """Return the storage of a file.

    Its calls ``save_task``, ``get_task``, ``get_tasks`` and ``cleanup_old_tasks`` block until they
    are done, so they are for scripts. The first of them makes or opens the file, which may have
    no other owner. ``TaskQueue(storage_factory=TaskStorage)`` is a
    queue on it.

    Args:
        db_path: the file; ``None`` means ``WOPR_TASKS_DATABASE`` or ``wopr_tasks.duckdb``.
    """
    from wopr.storage import open_storage

    settings = Settings()
    return open_storage(settings.database if db_path is None else db_path, settings)
