"""Give the space of deleted tasks back to the disk, by writing the file anew.

DuckDB reuses the space of deleted rows but never returns it. The new file is
written beside the old one, compared with it, and put in its place in one step:
whenever this is stopped, there is a whole file with every task.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import duckdb

from wopr.domain.clock import Clock
from wopr.domain.errors import StorageFileError
from wopr.storage.duckdb.file.files import LOG_SUFFIXES, beside, install, workshop
from wopr.storage.duckdb.file.opening import Settings, open_database
from wopr.storage.duckdb.file.repair import explain

Progress = Callable[[str], None]


def _silent(message: str) -> None:
    """Report to nobody."""


def compact(
    path: str | os.PathLike[str],
    progress: Progress = _silent,
    *,
    memory_limit: str = "200MB",
    clock: Clock | None = None,
) -> tuple[int, int]:
    """Write the file anew without its free space; return its size in bytes before and after.

    Needs free disk space of the size after. ``progress`` gets one sentence per
    step. The file is locked all the time.

    Raises:
        StorageOwnedError: Another process has it open: stop it first.
        StorageFileError: It does not exist, can't be opened or can't be copied;
            it is unchanged then.

    """
    opened = open_database(path, memory_limit=memory_limit, create=False, clock=clock)
    try:
        opened.connection.execute("CHECKPOINT")
        opened.disconnect()
        before = opened.path.stat().st_size
        progress(f"Copying {opened.path} ({before:,} bytes).")
        with workshop(opened.path) as new:
            _copy(opened.path, new, memory_limit)
            _refuse_log(opened.path)
            progress("Putting the copy in its place.")
            install(new, opened.path)
        after = opened.path.stat().st_size
    finally:
        opened.lock.release()
    progress(f"{opened.path} has {after:,} bytes now, {before - after:,} fewer.")
    return before, after


def _copy(path: Path, new: Path, memory_limit: str) -> None:
    settings: Settings = {
        "threads": 1,
        "async_threads": 0,
        "memory_limit": memory_limit,
        "temp_directory": str(beside(new, ".tmp")),
    }
    try:
        with duckdb.connect(config=settings) as connection:
            connection.execute(f"ATTACH {_quoted(path)} AS old (READ_ONLY)")
            connection.execute(f"ATTACH {_quoted(new)} AS new")
            connection.execute("COPY FROM DATABASE old TO new")
            connection.execute("CHECKPOINT new")
            _compare(connection, path)
            connection.execute("DETACH new")
    except duckdb.Error as error:
        raise explain(path, error) from error


def _compare(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    for name in _tables(connection, "old"):
        old, new = (_count(connection, database, name) for database in ("old", "new"))
        if old != new:
            raise StorageFileError(
                f"The compact copy of {path} has {new} rows in {name} where the file has {old}. "
                f"The file was not changed. Check the disk, then try again."
            )


def _tables(connection: duckdb.DuckDBPyConnection, database: str) -> list[str]:
    rows = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = ? ORDER BY table_name",
        [database],
    ).fetchall()
    return [str(row[0]) for row in rows]


def _count(connection: duckdb.DuckDBPyConnection, database: str, table: str) -> int:
    row = connection.execute(f'SELECT count(*) FROM {database}.main."{table}"').fetchone()
    assert row is not None, "count(*) has one row"
    return int(row[0])


def _refuse_log(path: Path) -> None:
    """Make sure that the new file will not be met by the log of the old one."""
    for suffix in LOG_SUFFIXES:
        if beside(path, suffix).exists():
            raise StorageFileError(
                f"{beside(path, suffix)} appeared while {path} was copied: another program opened "
                f"the file. It was not changed. Stop that program, then try again."
            )


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
