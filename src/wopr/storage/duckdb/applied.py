"""Bring the tables up to the journal: groups of records, in one transaction with their position.

So a crash can't tear them apart: what the tables hold is exactly what the records up to the
stored position say, and opening the file goes on behind it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import duckdb

from wopr.storage.duckdb import operations
from wopr.storage.duckdb.failures import may_be_the_rows
from wopr.storage.duckdb.fold_sql import fold
from wopr.storage.duckdb.journal.format import Group
from wopr.storage.duckdb.write import Row

log = logging.getLogger(__name__)

Connection = duckdb.DuckDBPyConnection

PIECE_BYTES = 4 * 1024 * 1024
"""DuckDB holds all rows of a statement in memory, and more than once."""

_ADVANCE = """
update meta
set value = case key when 'applied' then ? else greatest(try_cast(value as bigint), ?)::varchar end
where key in ('applied', 'seq')
"""
_PROGRESS = """
update tasks
set progress = new.progress, progress_message = new.message, progress_data = new.data
from (
    select
        unnest(?::uuid[]) as id,
        unnest(?::bigint[]) as version,
        unnest(?::double[]) as progress,
        unnest(?::varchar[]) as message,
        unnest(?::varchar[]) as data
) as new
where tasks.id = new.id and tasks.version = new.version and tasks.id between ?::uuid and ?::uuid
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a group that one statement takes: whole records."""

    last: int
    """Position of the last record."""
    content: bytes
    operation: bool


def let_go_of_the_last(connection: Connection) -> None:
    """End the transaction whose rollback found no memory, if there is one."""
    with contextlib.suppress(duckdb.TransactionException):  # there is none
        connection.execute("rollback")


def position(connection: Connection) -> tuple[int, int]:
    """Return the position of the last record that the tables hold, and the highest seq."""
    rows = dict(
        connection.execute("select key, value from meta where key in ('applied', 'seq')").fetchall()
    )
    return int(rows.get("applied", 0)), int(rows.get("seq", 0))


def pieces(group: Group) -> Iterator[Piece]:
    """Cut a group into pieces."""
    if not group.operations:
        yield from _cut(group.first, group.content)
        return
    first = group.first
    run: list[bytes] = []
    for line in group.content.split(b"\n"):
        if not line.startswith(operations.MARK):
            run.append(line)
            continue
        if run:
            yield from _cut(first, b"\n".join(run))
            first += len(run)
            run = []
        yield Piece(first, line, operation=True)
        first += 1
    if run:
        yield from _cut(first, b"\n".join(run))


def _cut(first: int, content: bytes) -> Iterator[Piece]:
    """Cut transitions between two lines, where they are more than a statement should take."""
    start = 0
    while len(content) - start > PIECE_BYTES:
        end = content.rfind(b"\n", start, start + PIECE_BYTES)
        if end < 0:  # one record is larger than that
            end = content.find(b"\n", start)
            if end < 0:
                break
        part = content[start:end]
        first += part.count(b"\n") + 1
        yield Piece(first - 1, part, operation=False)
        start = end + 1
    rest = content[start:]
    yield Piece(first + rest.count(b"\n"), rest, operation=False)


def record_count(piece: Piece) -> int:
    """Return how many records a piece has."""
    return 1 if piece.operation else piece.content.count(b"\n") + 1


def behind(piece: Piece, position: int) -> Piece | None:
    """Return what of a piece lies behind a position; ``None`` if nothing does."""
    if piece.last <= position:
        return None
    surplus = position - (piece.last - record_count(piece))
    if surplus <= 0:
        return piece
    lines = piece.content.split(b"\n")[surplus:]
    return Piece(piece.last, b"\n".join(lines), operation=False)


def up_to(piece: Piece, position: int) -> Piece | None:
    """Return what of a piece lies at or before a position; ``None`` if nothing does."""
    surplus = piece.last - position
    if surplus <= 0:
        return piece
    lines = piece.content.split(b"\n")[:-surplus]
    return Piece(position, b"\n".join(lines), operation=False) if lines else None


def joined(chosen: Sequence[Piece]) -> list[Piece]:
    """Join neighbours that one statement can take."""
    found: list[Piece] = []
    run: list[Piece] = []
    size = 0
    for piece in chosen:
        if run and (piece.operation or size + len(piece.content) > PIECE_BYTES):
            found.append(_one(run))
            run, size = [], 0
        if piece.operation:
            found.append(piece)
        else:
            run.append(piece)
            size += len(piece.content)
    return [*found, _one(run)] if run else found


def _one(run: Sequence[Piece]) -> Piece:
    if len(run) == 1:
        return run[0]
    return Piece(run[-1].last, b"\n".join([one.content for one in run]), operation=False)


def apply(
    connection: Connection,
    work: Sequence[Piece],
    syncing: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> None:
    """Bring the tables up to these pieces, in one transaction.

    A record that DuckDB refuses is put into the table of refused records. ``syncing`` is
    entered while DuckDB waits for the disk.

    Raises:
        duckdb.Error: Nothing was changed; it was not a record's fault.
    """
    try:
        _apply(connection, work, syncing)
    except Exception as error:
        if not may_be_the_rows(error):
            raise
        _without_the_bad(connection, work, error)


def _apply(
    connection: Connection,
    work: Sequence[Piece],
    syncing: Callable[[], AbstractContextManager[None]],
) -> None:
    _begin(connection)
    try:
        for piece in work:
            if piece.operation:
                operations.execute(connection, piece.content)
            else:
                fold(connection, piece.content)
        connection.execute(_ADVANCE, [str(work[-1].last), _highest_seq(work)]).fetchall()
        with syncing():
            connection.execute("commit")
    except BaseException:
        _roll_back(connection)
        raise


def _begin(connection: Connection) -> None:
    """Begin a transaction, also where the rollback of the last one found no memory."""
    try:
        connection.execute("begin")
    except duckdb.TransactionException:
        let_go_of_the_last(connection)
        connection.execute("begin")


def _roll_back(connection: Connection) -> None:
    """Undo a transaction.

    Raises:
        duckdb.FatalException: there was no memory for that. What the transaction has made stays in
            the way of the next one then, so the database has to be opened again.
    """
    try:
        connection.execute("rollback")
    except duckdb.TransactionException:  # a commit that failed has ended it
        return
    except duckdb.Error as error:
        raise duckdb.FatalException(f"FATAL Error: a rollback failed: {error}") from error


def _highest_seq(work: Sequence[Piece]) -> int:
    for piece in reversed(work):
        if not piece.operation:
            line = piece.content[piece.content.rfind(b"\n") + 1 :]
            return int(line[: line.index(b"\x1f")])
    return 0


def _without_the_bad(connection: Connection, work: Sequence[Piece], error: Exception) -> None:
    """Find the records that DuckDB refuses, by halves, and set them aside."""
    if len(work) > 1:
        half = len(work) // 2
        apply(connection, work[:half])
        apply(connection, work[half:])
        return
    [piece] = work
    lines = piece.content.split(b"\n")
    if len(lines) > 1 and not piece.operation:
        half = len(lines) // 2
        first = Piece(piece.last - len(lines) + half, b"\n".join(lines[:half]), operation=False)
        apply(connection, [first])
        apply(connection, [Piece(piece.last, b"\n".join(lines[half:]), operation=False)])
        return
    log.error(
        "DuckDB refuses the journal's record %d, so it was set aside (table refused_records) and "
        "its task may lack a change: %s. Run wopr doctor; please report this.",
        piece.last,
        error,
    )
    _begin(connection)
    try:
        connection.execute(
            "insert into refused_records (position, record, error, refused_at) "
            "values (?, ?, ?, now()::timestamp)",
            [piece.last, piece.content.decode(errors="replace"), str(error)],
        ).fetchall()
        connection.execute("update meta set value = ? where key = 'applied'", [str(piece.last)])
        connection.execute("commit")
    except BaseException:
        _roll_back(connection)
        raise


def progress(connection: Connection, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Store how far tasks have come that still are what the rows say; one statement."""
    wanted = ("id", "version", "progress", "progress_message", "progress_data")
    at = [columns.index(name) for name in wanted]
    values = [[row[number] for row in rows] for number in at]
    connection.execute(_PROGRESS, [*values, min(values[0]), max(values[0])]).fetchall()
