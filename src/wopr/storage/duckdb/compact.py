"""Give the space of deleted tasks back to the disk, by writing the file anew.

DuckDB reuses the space of deleted rows but never returns it. The new file is
written beside the old one, compared with it, and put in its place in one step:
whenever this is stopped, there is a whole file with every task.

It is written a few megabytes at a time, each made part of the new file before the next:
so neither memory nor the log of the new file holds more than that.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from wopr.domain.clock import Clock
from wopr.domain.errors import StorageFileError
from wopr.domain.spoken import counted
from wopr.storage.duckdb import largeresults
from wopr.storage.duckdb.disk import beside
from wopr.storage.duckdb.failures import lacks_memory
from wopr.storage.duckdb.file.checkpoint import forget
from wopr.storage.duckdb.file.connecting import connect_to_copy, quoted
from wopr.storage.duckdb.file.files import LOG_SUFFIXES, install, workshop
from wopr.storage.duckdb.file.memory import bytes_of, physical, to_try
from wopr.storage.duckdb.file.repair import explain
from wopr.storage.duckdb.start import open_settled

Progress = Callable[[str], None]

_FIRST = 100  # rows of the first portion of a table
_MOST = 122_880  # of any: a row group
_GROWTH = 8
_PART = 12  # of the memory limit, a portion has about this part
_MARGIN = 1.02  # new row groups are smaller, and each leaves a part of a block empty
_BESIDES = 64 * 1024 * 1024  # bytes of the disk: the log of the new file, its metadata


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

    Needs free disk space for the new file beside the old one: the first sentence that
    ``progress`` gets says how much that can be. It gets one per step. The file is locked
    all the time.

    Raises:
        StorageOwnedError: Another process has it open: stop it first.
        StorageFileError: It does not exist, can't be opened or can't be copied, or
            the disk has not so much free; it is unchanged then.

    """
    opened = open_settled(path, memory_limit=memory_limit, clock=clock)
    try:
        needed = _needed(opened.connection)
        opened.disconnect()
        before = opened.path.stat().st_size
        free = shutil.disk_usage(opened.path.parent).free
        progress(
            f"Copying {opened.path} ({before:,} bytes): takes up to {needed:,} bytes beside it, "
            f"where {free:,} are free."
        )
        if free < needed:
            raise _no_space(opened.path, needed, free)
        with workshop(opened.path) as new:
            _copy_somehow(opened.path, new, memory_limit, progress)
            _refuse_log(opened.path)
            progress("Putting the copy in its place.")
            install(new, opened.path)
        after = opened.path.stat().st_size
    except OSError as error:
        raise StorageFileError(
            f"{opened.path} could not be compacted: {error}. It is as it was, or is the new one "
            f"already. Check the disk and its free space, then try again."
        ) from error
    except duckdb.Error as error:
        raise explain(opened.path, error) from error
    finally:
        opened.disconnect()
        forget(opened.path)
        opened.lock.release()
    progress(f"{opened.path} has {after:,} bytes now, {before - after:,} fewer.")
    return before, after


def _needed(connection: duckdb.DuckDBPyConnection) -> int:
    """Return how many bytes the new file can have: the used blocks, and what is compressed."""
    [(used,)] = connection.execute(
        "SELECT used_blocks * block_size FROM pragma_database_size() "
        "WHERE database_name = current_database()"
    ).fetchall()
    unpacked = 0
    for table in _tables(connection, None):
        [(more,)] = connection.execute(
            "SELECT coalesce(sum(stats.total_string_length), 0) "
            f"FROM pragma_storage_info({quoted(table)}) WHERE compression = 'ZSTD'"
        ).fetchall()
        unpacked += int(more)
    return int((used + unpacked) * _MARGIN) + _BESIDES


def _no_space(path: Path, needed: int, free: int) -> StorageFileError:
    return StorageFileError(
        f"{path} can't be compacted: the new file can have {needed:,} bytes, and its disk has "
        f"{free:,} free. Nothing was changed. Free {needed - free:,} bytes, or copy the file to "
        f"another disk and compact it there: wopr compact -d COPY"
    )


def _copy_somehow(path: Path, new: Path, memory_limit: str, progress: Progress) -> None:
    """Copy with the memory that may be had, or with more if rows can't be read with that."""
    limits = to_try(memory_limit, physical())
    while True:
        limit = limits.pop(0)
        try:
            return _copy(path, new, limit)
        except StorageFileError as error:
            cause = error.__cause__
            if not limits or not isinstance(cause, duckdb.Error) or not lacks_memory(cause):
                raise
        progress(f"{limit} of memory are too little for DuckDB to copy it; trying {limits[0]}.")
        for suffix in ("", *LOG_SUFFIXES):
            beside(new, suffix).unlink(missing_ok=True)


def _copy(path: Path, new: Path, memory_limit: str) -> None:
    try:
        with connect_to_copy(path, new, memory_limit) as connection:
            connection.execute(f"ATTACH {quoted(path)} AS old (READ_ONLY)")
            connection.execute(f"ATTACH {quoted(new)} AS new")
            connection.execute("COPY FROM DATABASE old TO new (SCHEMA)")
            portion = bytes_of(memory_limit) // _PART
            for name in _tables(connection, "old"):
                _Filling(connection, name, new, portion).run()
            connection.execute("CHECKPOINT new")
            _compare(connection, path)
            connection.execute("DETACH new")
    except duckdb.Error as error:
        raise explain(path, error) from error


_LARGE = f"(strlen(result) > {largeresults.LARGE} AND status IN {largeresults.ENDED_SQL})"
_WITHOUT = f"* REPLACE (CASE WHEN NOT coalesce({_LARGE}, false) THEN result END AS result)"


class _Filling:
    """Copies one table in the order of its rows.

    Of ``tasks`` it puts the large results apart: an older wopr had them in the rows.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, table: str, new: Path, portion: int
    ) -> None:
        self._connection = connection
        self._table = f'main."{table}"'
        self._is_tasks = table == "tasks"
        self._log = beside(new, ".wal")
        self._portion = portion
        self._count = _FIRST

    def run(self) -> None:
        [(last,)] = self._ask(f"SELECT max(rowid) FROM old.{self._table}")
        low = 0
        while last is not None and low <= last:
            before = self._logged()
            try:
                rows = self._copy(f"rowid BETWEEN {low} AND {low + self._count - 1}")
            except duckdb.Error as error:
                if self._count == 1 or not lacks_memory(error):
                    raise
                self._count = max(1, self._count // _GROWTH)
                continue
            low += self._count
            self._adapt(rows, self._logged() - before)
            if self._logged() >= self._portion:
                self._ask("CHECKPOINT new")

    def _copy(self, where: str) -> int:
        """Copy some rows; return how many."""
        columns = _WITHOUT if self._is_tasks else "*"
        self._ask("BEGIN")
        try:
            [(rows,)] = self._ask(
                f"INSERT INTO new.{self._table} SELECT {columns} FROM old.{self._table} "
                f"WHERE {where}"
            )
            if self._is_tasks:
                self._ask(
                    "INSERT INTO new.main.results SELECT version, id, result FROM old.main.tasks "
                    f"WHERE {where} AND {_LARGE}"
                )
            self._ask("COMMIT")
        except duckdb.Error:
            with contextlib.suppress(duckdb.Error):  # it would hide what went wrong before
                self._ask("ROLLBACK")
            raise
        return int(rows)

    def _adapt(self, rows: int, size: int) -> None:
        """Choose how many to copy next by how large those were; gaps in the numbers count."""
        fitting = min(
            self._count * self._portion // max(size, 1), self._count * _MOST // max(rows, 1)
        )
        self._count = max(1, min(fitting, self._count * _GROWTH))

    def _logged(self) -> int:
        """Return how many bytes are in the log of the new file only."""
        try:
            return self._log.stat().st_size
        except FileNotFoundError:
            return 0

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()


def _compare(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    for name in _tables(connection, "old"):
        old, new = (_count(connection, database, name) for database in ("old", "new"))
        if old != new and not (name == "results" and old < new):  # large ones of before
            raise StorageFileError(
                f"The compact copy of {path} has {counted(new, 'row')} in {name} where the file "
                f"has {old}. The file was not changed. Check the disk, then try again."
            )


def _tables(connection: duckdb.DuckDBPyConnection, database: str | None) -> list[str]:
    """Return the tables of a database; without one, of the connection's own."""
    rows = connection.execute(
        "SELECT table_name FROM duckdb_tables() "
        "WHERE database_name = coalesce(?, current_database()) ORDER BY table_name",
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
