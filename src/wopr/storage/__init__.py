"""Implementations of the storage port; never imports the engine."""

from __future__ import annotations

import os
from pathlib import Path

from wopr.config.settings import Settings
from wopr.ports.storage import Storage
from wopr.storage.duckdb.file.location import absolute, check_name

__all__ = ["absolute", "check_name", "open_storage"]


def open_storage(database: str | os.PathLike[str], settings: Settings) -> Storage:
    """Return the DuckDB storage for a file; duckdb is imported here and not before."""
    from wopr.storage.duckdb.storage import DuckDBStorage

    return DuckDBStorage(
        database,
        settings.memory_limit,
        sync=settings.sync == "full",
        inline_sync=settings.inline_sync == "auto",
    )


def signed(database: Path) -> tuple[int | None, int | None]:
    """Return the pid of the owner, and the error number if it can't listen, as far as known."""
    from wopr.storage.duckdb.file.signature import signature_of

    found = signature_of(database)
    return found.pid, found.deaf


def sign_deaf(database: Path, error: int) -> None:
    """Tell other processes that this one, the owner of the file, can't listen."""
    from wopr.storage.duckdb.file import signature

    signature.sign_deaf(database, error)
