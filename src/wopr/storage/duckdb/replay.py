"""Stored transitions, read again; and the tables of a file that no journal was kept for."""

from __future__ import annotations

import logging
from typing import Any

import duckdb

from wopr.domain.fold import apply
from wopr.domain.spoken import counted
from wopr.domain.stored import task_fault
from wopr.domain.task import COLUMNS, MUTABLE_COLUMNS, TaskRecord
from wopr.domain.written import (
    TRANSITION_COLUMNS,
    UNREADABLE,
    record_from_add,
    transition_from_row,
)
from wopr.storage.duckdb import largeresults
from wopr.storage.duckdb.aside import set_aside
from wopr.storage.duckdb.portions import portions

__all__ = [
    "TRANSITION_COLUMNS",
    "UNREADABLE",
    "catch_up",
    "record_from_add",
    "transition_from_row",
]

log = logging.getLogger(__name__)

_BATCH = 2_000


def catch_up(connection: duckdb.DuckDBPyConnection) -> int:
    """Fold the transitions that ``tasks`` lacks in a file of an older wopr; return the last seq.

    That one wrote ``tasks`` behind ``transitions``, and noted now and then how far.
    """
    found = connection.execute("select value from meta where key = 'folded'").fetchall()
    folded = int(found[0][0]) if found else 0
    newest = connection.execute("select coalesce(max(seq), 0) from transitions").fetchall()
    last = max(int(newest[0][0]), folded)  # numbers are never used again
    count = 0
    known: dict[str, TaskRecord | None] = {}
    fresh: set[str] = set()
    low, step = folded, _BATCH
    while low < last:
        try:
            rows = _read(connection, low, low + step, known)
        except duckdb.OutOfMemoryException:  # large payloads: fewer of them at a time
            if step == 1:
                raise
            step = max(1, step // 8)
            continue
        count += sum(_apply_row(row, known, fresh) for row in rows)
        low += step
    if count:
        said = counted(count, "transition")
        log.warning("Replayed %s that a crash had left to fold.", said)
        _write(connection, known, fresh)
    return last


def _read(
    connection: duckdb.DuckDBPyConnection,
    low: int,
    high: int,
    known: dict[str, TaskRecord | None],
) -> list[tuple[Any, ...]]:
    """Return the transitions from ``low`` to ``high``; add the rows of their tasks to ``known``."""
    found = connection.execute(
        f"select {TRANSITION_COLUMNS} from transitions where seq > ? and seq <= ? order by seq",
        [low, high],
    ).fetchall()
    rows = connection.execute(
        f"select {', '.join(COLUMNS)} from tasks where id in "
        "(select task_id from transitions where seq > ? and seq <= ?)",
        [low, high],
    ).fetchall()
    for row in rows:
        if (fault := task_fault(row)) is not None:
            set_aside(f"task {row[0]}", fault)
        else:
            known.setdefault(str(row[0]), TaskRecord.from_row(row))
    return found


def _apply_row(row: tuple[Any, ...], known: dict[str, TaskRecord | None], fresh: set[str]) -> bool:
    try:
        transition = transition_from_row(row)
    except UNREADABLE as error:
        set_aside(f"transition {row[0]} of task {row[1]}", str(error))
        return False
    record = known.get(transition.task_id)
    if record is None:
        if transition.from_status is None:
            known[transition.task_id] = record_from_add(transition)
            fresh.add(transition.task_id)
            return True
        return False  # its task was deleted, only the history is kept
    if transition.seq <= record.version:
        return False
    apply(record, transition)
    return True


def _write(
    connection: duckdb.DuckDBPyConnection,
    known: dict[str, TaskRecord | None],
    fresh: set[str],
) -> None:
    records = [record for record in known.values() if record is not None]
    width = len(MUTABLE_COLUMNS)
    insert = connection.appender("tasks", columns=list(COLUMNS))
    update = connection.appender(
        "tasks", columns=list(MUTABLE_COLUMNS), action="update", key=["id"]
    )
    inserts, large = largeresults.taken(record.row() for record in records if record.id in fresh)
    updates, more = largeresults.taken(record.row() for record in records if record.id not in fresh)
    # No transaction around them: after a crash any part may be there, as after any fold.
    largeresults.add(connection, [*large, *more])
    for rows in portions(inserts):
        insert.append_rows(rows)
        insert.flush()
    for rows in portions(updates):
        update.append_rows([row[:width] for row in rows])
        update.flush()
