"""Reads: one thread and one cursor each for the engine's own and for people's queries."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import duckdb

from wopr.domain.errors import QueryError, QueryTimeoutError, StorageError
from wopr.domain.jsontext import safe_text, shown
from wopr.ports.storage import QueryLimits, QueryRows
from wopr.storage.duckdb.file.opening import OpenedDatabase

T = TypeVar("T")

_READABLE = ("SELECT", "EXPLAIN")
_FILES = re.compile(
    r"\b(read_\w+|parquet_\w+|\w+_scan|sniff_csv|query|query_table"
    r'|json_execute_serialized_sql)\b"?(?=(\s|/\*.*?\*/|--[^\n]*\n)*\()',
    re.IGNORECASE | re.DOTALL,
)
"""What reads files: DuckDB lets it have its own, and its lock on the file vanishes by that."""


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


def run_query(
    cursor: duckdb.DuckDBPyConnection, sql: str, params: Sequence[Any], limits: QueryLimits
) -> QueryRows:
    """Run one read-only statement within its limits.

    A filter on the statement's kind is not enough (DuckDB runs ``WITH x AS
    (DELETE …) SELECT``): the read-only transaction is what protects the data. The
    filter is there for what is no data: settings, attached files, other statements.
    """
    if not isinstance(sql, str) or "\x00" in sql:
        raise QueryError(f"A query is a text without NUL characters, not {shown(sql)}.")
    _refuse_all_but_one_read(cursor, sql)
    late = threading.Event()

    def stop() -> None:
        late.set()
        cursor.interrupt()

    timer = threading.Timer(limits.seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        cursor.execute("begin transaction read only")
        try:
            return _fetch(cursor, sql, params, limits.rows)
        finally:
            timer.cancel()
            cursor.execute("rollback")
    except duckdb.Error as error:
        if late.is_set():
            raise QueryTimeoutError(
                f"The query took longer than {limits.seconds:g} s and was stopped. Narrow it, or "
                "allow more with WOPR_TASKS_QUERY_SECONDS."
            ) from error
        raise QueryError(f"The query failed: {error}") from error
    except Exception as error:
        raise QueryError(f"The query's parameters can't be used: {safe_text(error)}") from error
    finally:
        timer.cancel()


def _refuse_all_but_one_read(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    if (found := _FILES.search(sql)) is not None:
        raise QueryError(
            f"The query failed: {found[1]}() can't be used here, because it could read files. The "
            "tables and views of the queue are all there is to ask."
        )
    try:
        statements = cursor.extract_statements(sql)
    except (duckdb.Error, ValueError) as error:
        raise QueryError(f"The query can't be parsed: {error}") from error
    if len(statements) != 1:
        raise QueryError(f"One statement at a time, please: this text has {len(statements)}.")
    try:
        kind = statements[0].type.name
    except ValueError:  # a kind that the client has no name for, such as UPDATE EXTENSIONS
        kind = "no query"
    if kind not in _READABLE or (kind == "EXPLAIN" and "analyze" in sql.lower()):
        raise QueryError(
            f"Only SELECT and EXPLAIN can be run here; this is {kind}. Tasks are changed with "
            "cancel_task, retry_task and cleanup_old_tasks."
        )


def _fetch(
    cursor: duckdb.DuckDBPyConnection, sql: str, params: Sequence[Any], limit: int
) -> QueryRows:
    cursor.execute(sql, list(params))
    if cursor.description is None:
        return QueryRows((), [])
    columns = tuple(column[0] for column in cursor.description)
    rows = cursor.fetchmany(limit + 1)
    return QueryRows(columns, rows[:limit], truncated=len(rows) > limit)
