"""Implementations of the storage port; never imports the engine."""

from __future__ import annotations

import os

from wopr.ports.storage import Storage


def open_storage(database: str | os.PathLike[str], memory_limit: str) -> Storage:
    """Return the DuckDB storage for a file; duckdb is imported here and not before."""
    from wopr.storage.duckdb.storage import DuckDBStorage

    return DuckDBStorage(database, memory_limit)
