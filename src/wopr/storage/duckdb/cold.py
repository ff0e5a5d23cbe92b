"""An archive of tasks whose tables are elsewhere: written from rows, and asked by itself.

DuckDB writes and reads the files. Its own tables hold the rows of one portion while that is
written, in a transaction that is never committed, and are empty else.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from wopr.config.crashpoint import crashpoint
from wopr.domain.checks import is_task_id
from wopr.domain.errors import QueryTimeoutError, StorageFileError
from wopr.domain.logline import LogLine
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.ports.storage import QueryLimits, QueryRows
from wopr.storage.duckdb.asked.reading import run
from wopr.storage.duckdb.disk import sync_directory
from wopr.storage.duckdb.failures import told
from wopr.storage.duckdb.file.connecting import connect
from wopr.storage.duckdb.file.migrate import create_file
from wopr.storage.duckdb.parquet import again, archived, layout, parts

T = TypeVar("T")
Rows = Mapping[str, tuple[Sequence[str], Sequence[Sequence[Any]]]]
"""By table, its columns and the rows."""


class Cold:
    """One archive, as one process reaches it; from any thread, by one after the other.

    Args:
        directory: of the archive.
        memory_limit: DuckDB's.

    Raises:
        StorageFileError: the directory's name can't be one.
    """

    def __init__(self, directory: Path, memory_limit: str) -> None:
        self.directory = layout.check_name(directory)
        self._memory_limit = memory_limit
        self._lock = threading.Lock()
        self._folder: str | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None

    def write(self, name: str, rows: Rows) -> int:
        """Write whole tasks, but for those that are there already; return the bytes of the files.

        Args:
            name: what the names of the files begin with.
            rows: of ``tasks``, ``transitions`` and ``task_logs``.

        Raises:
            StorageFileError: it can't be done; then files of the name may lie there.
        """
        ids = [str(row[0]) for row in rows["tasks"][1]]
        built = self.directory / (layout.NEW + name)
        with self._used() as cursor, told(f"Nothing was archived to {self.directory}"):
            layout.make(self.directory)
            layout.make(built)
            cursor.begin()
            try:
                for table, (columns, found) in rows.items():
                    appender = cursor.appender(table, columns=list(columns))
                    appender.append_rows([tuple(row) for row in found])
                    appender.flush()
                there, before = archived.already(cursor, self.directory, ids)
                again.note(cursor, built, self.directory, name, before)
                parts.write(cursor, built, name, [one for one in ids if one not in there])
                crashpoint("archive.written")
                size = layout.put_in_place(built, self.directory)
                crashpoint("archive.placed")
                return size
            finally:
                cursor.rollback()
                shutil.rmtree(built, ignore_errors=True)

    def delete(self, name: str) -> None:
        """Delete the files of a portion that was broken off, durably.

        Raises:
            StorageFileError: it can't be done.
        """
        try:
            if not layout.is_there(self.directory):
                raise StorageFileError(
                    f"The directory {self.directory} is not there, and the last time that tasks "
                    "were archived to it was broken off. Nothing was archived or deleted. Mount "
                    f"it, or make it if it is gone for good: mkdir -m 700 '{self.directory}'"
                )
            shutil.rmtree(self.directory / (layout.NEW + name), ignore_errors=True)
            found = list(layout.files(self.directory, name))
            for one in found:
                one.unlink()
            for folder in {one.parent for one in found}:
                sync_directory(folder)
        except OSError as error:
            raise StorageFileError(
                f"Files in {self.directory} that are left of a time that archiving was broken off "
                f"can't be deleted: {error}. Nothing was archived or deleted. Delete the files "
                f"that begin with {name}, or let this user do it."
            ) from error

    # -- read -------------------------------------------------------------------

    def get(self, task_id: str) -> TaskRecord | None:
        """Return an archived task."""
        if not is_task_id(task_id):
            return None
        return self._read(lambda cursor: archived.get(cursor, self.directory, task_id))

    def history(self, record: TaskRecord) -> list[Transition]:
        """Return the transitions of an archived task, in order."""
        return self._read(lambda cursor: archived.history(cursor, self.directory, record))

    def logs(self, record: TaskRecord, limit: int) -> list[LogLine]:
        """Return the first lines that an archived task logged, in order."""
        return self._read(lambda cursor: archived.logs(cursor, self.directory, record, limit))

    def ask(self, question: str, params: Sequence[Any], limits: QueryLimits) -> QueryRows:
        """Return what the archive alone answers to a question of wopr's own.

        Raises:
            QueryError: it can't be answered.
            QueryTimeoutError: it took too long.
        """
        limits = QueryLimits(
            limits.seconds, limits.rows, own=True, whole=True, archive=self.directory
        )
        with self._used() as cursor:
            late = threading.Event()

            def interrupt() -> None:
                late.set()
                cursor.interrupt()

            timer = threading.Timer(limits.seconds, interrupt)
            timer.daemon = True
            timer.start()
            try:
                return run(cursor, question, params, limits)
            except Exception as error:
                if late.is_set():
                    raise QueryTimeoutError(
                        f"The archive in {self.directory} did not answer within "
                        f"{limits.seconds:g} s. Ask for less, or allow more: "
                        "WOPR_TASKS_QUERY_SECONDS."
                    ) from error
                raise
            finally:
                timer.cancel()

    def _read(self, ask: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        with self._used() as cursor, told(f"The archive in {self.directory} can't be read"):
            return ask(cursor)

    @contextlib.contextmanager
    def _used(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Have the connection for oneself; at first it is made, with empty tables."""
        with self._lock:
            if self._connection is None:
                self._folder = tempfile.mkdtemp(prefix="wopr-archive-")
                path = Path(self._folder) / "empty.duckdb"
                create_file(path)
                self._connection = connect(path, self._memory_limit, reach=[self.directory])
            cursor = self._connection.cursor()
            try:
                yield cursor
            finally:
                cursor.close()

    def close(self) -> None:
        """Let go of it. Idempotent; whoever comes later opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
            folder, self._folder = self._folder, None
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
