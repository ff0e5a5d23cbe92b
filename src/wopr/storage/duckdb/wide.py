"""Whole rows, a few megabytes at a time.

DuckDB holds in memory what it reads, 2,048 rows at once: with the largest payloads that is
more than it may use. What bounds it is how many rows are asked for. So the caller finds out
which ones it wants by reading their narrow columns only, and they are fetched here by
number: some at first, then as many as make a portion by the size of those before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, TypeVar
from uuid import UUID

import duckdb

from wopr.domain.stored import task_fault
from wopr.domain.task import COLUMNS, TaskRecord
from wopr.ports.storage import weight
from wopr.storage.duckdb import largeresults
from wopr.storage.duckdb.aside import UnreadableRowsError, set_aside
from wopr.storage.duckdb.failures import lacks_memory

Connection = duckdb.DuckDBPyConnection
Row = tuple[Any, ...]
Key = tuple[UUID, int]
T = TypeVar("T")

CHUNK_BYTES = 8 * 1024 * 1024
FIRST = 32
GROWTH = 8
MOST = 20_000
_LARGE = {"args", "kwargs", "result", "error", "data"}
_SEQ = COLUMNS.index("seq")
TASKS = f"select id::varchar, {', '.join(COLUMNS[1:])}"


class Chunks:
    """How many rows to ask for next, and which ones not: they can't be read."""

    def __init__(self, most: int | None = None, aside: Sequence[int] = ()) -> None:
        self._most = MOST if most is None else most
        self.count = min(FIRST, self._most)
        self.aside = aside

    def read(self, rows: int, size: int) -> None:
        """Note that so many rows had so many bytes together."""
        fitting = CHUNK_BYTES * rows // max(size, 1)
        self.count = max(1, min(fitting, self.count * GROWTH, self._most))

    def failed(self) -> None:
        """Note that there was no memory for as many as were asked for."""
        self.count = max(1, self.count // GROWTH)


@contextlib.contextmanager
def one_moment(cursor: Connection) -> Iterator[None]:
    """Let the statements within see the same state of the tables.

    Else a page may lack tasks that were claimed between its two statements, and look
    like the last one.
    """
    cursor.execute("begin transaction read only")
    try:
        yield
    finally:
        with contextlib.suppress(duckdb.Error):  # it would hide what went wrong before
            cursor.execute("rollback")


def in_chunks(cursor: Connection, read: Callable[[Chunks], T]) -> T:
    """Return what ``read`` returns, which sees one moment; again with fewer rows if need be.

    It is begun anew because DuckDB ends a transaction that ran out of memory; and without
    the rows that can't be read, because a page with a gap would look like the last one.
    """
    chunks = Chunks()
    while True:
        try:
            with one_moment(cursor):
                return read(chunks)
        except UnreadableRowsError as found:
            chunks = Chunks(aside=[*chunks.aside, *found.seqs])
        except duckdb.Error as error:
            if chunks.count == 1 or not lacks_memory(error):
                raise
            chunks.failed()
            chunks = Chunks(most=chunks.count, aside=chunks.aside)


def parts(seqs: Sequence[int], chunks: Chunks) -> Iterator[Sequence[int]]:
    """Cut numbers into as many as may be asked for by then."""
    at = 0
    while at < len(seqs):
        part = seqs[at : at + chunks.count]
        at += len(part)
        yield part


def tasks(
    cursor: Connection, seqs: Sequence[int], chunks: Chunks, most_bytes: int | None = None
) -> list[TaskRecord]:
    """Return the tasks with these numbers, in their order.

    With ``most_bytes``, up to the one that brings them to so many bytes together.

    Raises:
        UnreadableRowsError: some of them can't be read, which was told.
    """
    found: list[TaskRecord] = []
    size = 0
    for part in parts(seqs, chunks):
        known = {
            one.seq: one for one in readable(whole(cursor, rows(cursor, TASKS, "tasks", part)))
        }
        before = size
        for seq in part:
            if (record := known.get(seq)) is not None:
                found.append(record)
                size += weight(record)
                if most_bytes is not None and size >= most_bytes:
                    return found
        chunks.read(len(part), size - before)
    return found


def readable(found: Sequence[Row]) -> list[TaskRecord]:
    """Return the tasks of rows.

    Raises:
        UnreadableRowsError: some of them can't be read, which was told.
    """
    bad: list[int] = []
    for row in found:
        if (fault := task_fault(row)) is not None:
            set_aside(f"task {row[0]}", fault)
            bad.append(row[_SEQ])
    if bad:
        raise UnreadableRowsError(bad)
    return [TaskRecord.from_row(row) for row in found]


def rows(
    cursor: Connection,
    select: str,
    table: str,
    seqs: Sequence[int],
    where: str = "true",
    given: Sequence[object] = (),
    order: str = "seq",
) -> list[Row]:
    """Return the rows of a table with these numbers, in an order.

    The bounds are what DuckDB surely applies before it reads the wide columns; whether it
    does so with the list depends on how many of the table's rows it thinks that is, and on
    how it is noted which values are missing. A single row it can always read by its place.
    """
    if len(seqs) == 1:
        asked = cursor.execute(
            f"select rowid from {table} where {where} and seq = ?", [*given, *seqs]
        )
        return [
            row
            for place in asked.fetchall()
            for row in cursor.execute(f"{select} from {table} where rowid = ?", place).fetchall()
        ]
    return cursor.execute(
        f"{select} from {table} where {where} and seq in (select unnest(?::bigint[])) "
        f"and seq between ? and ? order by {order}",
        [*given, seqs, min(seqs), max(seqs)],
    ).fetchall()


def whole(cursor: Connection, found: list[Row]) -> list[Row]:
    """Put the results that lie apart into tasks' rows."""
    versions = {row[largeresults.VERSION] for row in found if largeresults.lacks(row)}
    if not versions:
        return found
    asked = rows(cursor, "select seq, result", "results", sorted(versions))
    apart: dict[int, str] = dict(asked)
    return [
        largeresults.replaced(row, apart.get(row[largeresults.VERSION]))
        if largeresults.lacks(row)
        else row
        for row in found
    ]


class Sorted:
    """The rows of a table in the order of its tasks' ids and then of their numbers.

    Those of ``tasks`` begin with :data:`wopr.domain.task.MUTABLE_COLUMNS`, and are whole.
    """

    def __init__(self, cursor: Connection, table: str, columns: Sequence[str]) -> None:
        self._cursor = cursor
        self._table = table
        self._id = "id" if "id" in columns else "task_id"
        self._select = f"select {', '.join(columns)}"
        self._key: Callable[[Row], Key] = itemgetter(columns.index(self._id), columns.index("seq"))
        large = [columns.index(column) for column in columns if column in _LARGE]
        self._texts: Callable[[Row], tuple[str | None, ...]] = itemgetter(*large)
        self._chunks = Chunks()

    def between(self, low: UUID | None, high: UUID | None) -> Iterator[Row]:
        """Yield the rows with low <= id < high, where ``None`` is no bound."""
        bounds = [(f"{self._id} >= ?", low), (f"{self._id} < ?", high)]
        where = " and ".join(["true", *(text for text, bound in bounds if bound is not None)])
        given = [bound for _, bound in bounds if bound is not None]
        keys = f"(select distinct {self._id}, seq from {self._table} where {where})"
        order = f"{self._id}, seq"
        asked = self._cursor.execute(f"select seq from {keys} order by {order}", given)
        seqs = [seq for (seq,) in asked.fetchall()]
        wanted: list[Key] | None = None
        if len(set(seqs)) < len(seqs):  # of two tasks: each number alone does not say which
            asked = self._cursor.execute(f"select {order} from {keys} order by {order}", given)
            wanted = asked.fetchall()
        at = 0
        while at < len(seqs):
            part = seqs[at : at + self._chunks.count]
            try:
                found = self._read(part, where, given)
            except duckdb.Error as error:
                if len(part) == 1 or not lacks_memory(error):
                    raise
                self._chunks.failed()
                continue
            if wanted is not None:
                here = set(wanted[at : at + len(part)])
                found = [row for row in found if self._key(row) in here]
            at += len(part)
            yield from found

    def _read(self, seqs: Sequence[int], where: str, given: Sequence[UUID]) -> list[Row]:
        order = f"{self._id}, seq"
        found = rows(self._cursor, self._select, self._table, seqs, where, given, order)
        if self._table == "tasks":
            found = whole(self._cursor, found)
        size = sum(len(text) for row in found for text in self._texts(row) if text is not None)
        self._chunks.read(len(found), size)
        return found
