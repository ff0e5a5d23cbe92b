"""Implementations of the storage port; never imports the engine."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wopr.config.settings import Settings
from wopr.domain.errors import StorageFileError
from wopr.ports.storage import QueryLimits, QueryRows, Storage
from wopr.storage.duckdb.file.location import absolute, check_name

__all__ = ["absolute", "ask_snapshot", "check_name", "missing", "open_storage", "unwritten"]


def open_storage(database: str | os.PathLike[str], settings: Settings) -> Storage:
    """Return the DuckDB storage for a file; duckdb is imported here and not before."""
    from wopr.storage.duckdb.storage import DuckDBStorage

    return DuckDBStorage(
        database,
        settings.memory_limit,
        snapshot_limit=settings.snapshot_limit,
        sync=settings.sync == "full",
        inline_sync=settings.inline_sync == "auto",
    )


def missing(database: Path) -> StorageFileError:
    """Return the error that there is no such file; it says if a journal lies there without it."""
    from wopr.storage.duckdb.journal.scan import segments

    path = database.absolute()
    if path.parent.is_dir() and segments(path):
        return StorageFileError(
            f"The database file {path} is gone, but its journal lies there and may hold tasks. Put "
            f"the file or a backup back; to begin with no tasks: "
            f"wopr db accept -d {shlex.quote(str(path))}"
        )
    return StorageFileError(
        f"There is no database file {path}. Name yours with --database PATH or "
        f"WOPR_TASKS_DATABASE; a queue creates it with its first task."
    )


def unwritten(database: Path) -> StorageFileError | None:
    """Return the error that an empty file is no database; ``None`` if it was one once."""
    from wopr.storage.duckdb.journal.scan import segments

    path = database.absolute()
    if segments(path) or os.path.lexists(f"{path}.wal"):
        return None  # opening it says what of it is left
    return StorageFileError(
        f"{path} is an empty file: no queue has written to it. Name yours with --database PATH "
        f"or WOPR_TASKS_DATABASE, or delete it."
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


async def ask_snapshot(
    path: str | os.PathLike[str], sql: str, params: Sequence[Any], settings: Settings
) -> QueryRows:
    """Run a query on a snapshot, in a process of its own within the limits of the settings.

    Raises:
        QueryError: it was refused, it failed, or it needed more memory than it may have.
        QueryTimeoutError: it took too long.
    """
    from wopr.storage.duckdb.asked import apart

    limits = QueryLimits(settings.query_seconds, settings.query_rows)
    return await apart.ask(Path(path), sql, params, limits, settings.memory_limit)
