"""The engine's own reads: one thread and one cursor."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import duckdb

from wopr.domain.errors import StorageError
from wopr.storage.duckdb.file.opening import OpenedDatabase

T = TypeVar("T")


class Reader:
    """Run reads in a thread of its own, on a cursor of its own."""

    def __init__(self, opened: OpenedDatabase, name: str) -> None:
        self._opened = opened
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"wopr-{name}")
        self._lock = threading.Lock()
        self._cursor: duckdb.DuckDBPyConnection | None = None

    def submit(self, read: Callable[[duckdb.DuckDBPyConnection], T]) -> Future[T]:
        """Run ``read`` with the cursor in the reader's thread."""
        return self._pool.submit(self._run, read)

    def _run(self, read: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        with self._lock:
            try:
                if self._cursor is None:
                    self._cursor = self._opened.cursor()
                return read(self._cursor)
            except duckdb.Error as error:
                self._cursor = None
                raise StorageError(
                    f"Reading the database failed: {error}. Nothing is lost; the read can be "
                    "repeated. If it goes on, run: wopr doctor"
                ) from error

    def interrupt(self) -> None:
        """Stop what is being read: it ends in an error there."""
        cursor = self._cursor
        if cursor is not None:
            with contextlib.suppress(duckdb.ConnectionException):  # closed with its connection
                cursor.interrupt()

    def let_go(self) -> None:
        """Close the cursor, so that the database can be closed and opened again."""
        self.interrupt()
        with self._lock:
            if self._cursor is not None:
                self._cursor.close()
                self._cursor = None

    def close(self) -> None:
        """End the thread."""
        self.interrupt()
        self._pool.shutdown(wait=True)
        self.let_go()
