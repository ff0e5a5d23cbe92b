"""Implementations of the storage port; never imports the engine."""

from __future__ import annotations

import os

from wopr.config.settings import Settings
from wopr.ports.storage import Storage


def open_storage(database: str | os.PathLike[str], settings: Settings) -> Storage:
    """Return the DuckDB storage for a file; duckdb is imported here and not before."""
    from wopr.storage.duckdb.storage import DuckDBStorage

    return DuckDBStorage(
        database,
        settings.memory_limit,
        sync=settings.sync == "full",
        inline_sync=settings.inline_sync == "auto",
    )
