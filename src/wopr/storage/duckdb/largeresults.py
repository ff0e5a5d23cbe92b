"""Large results lie apart: in the table ``results``, which is only ever added to.

To change a text in one row, DuckDB reads those of the 2,048 rows around it. With results of
1 MiB that is more memory than it may use, and what would be changed is not even one of them. So
a result that is large never gets into a row of ``tasks``, whose column is NULL then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import duckdb

from wopr.domain.status import TERMINAL
from wopr.domain.task import MUTABLE_COLUMNS

Connection = duckdb.DuckDBPyConnection
Row = tuple[Any, ...]

LARGE = 4_096
"""Bytes: a result of more is large. That many in each of 2,048 rows are 8 MiB."""
ENDED = frozenset(status.value for status in TERMINAL)
"""Only of tasks that ended; so of others nobody has to look whether their result lies apart."""
ENDED_SQL = f"({', '.join(repr(status) for status in sorted(ENDED))})"
ID, STATUS, RESULT, VERSION = map(MUTABLE_COLUMNS.index, ("id", "status", "result", "version"))
_ADD = """
insert into results (seq, task_id, result)
select unnest(?::bigint[]), unnest(?::uuid[]), unnest(?::varchar[])
"""


def is_large(result: str) -> bool:
    """Whether a result has to lie apart when its task has ended."""
    return len(result) > LARGE or (4 * len(result) > LARGE and len(result.encode()) > LARGE)


def taken(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Take the large results out of tasks' rows; return the rows, and those of ``results``.

    A row begins with :data:`wopr.domain.task.MUTABLE_COLUMNS`.
    """
    left: list[Row] = []
    apart: list[Row] = []
    for row in rows:
        result = row[RESULT]
        if result is not None and row[STATUS] in ENDED and is_large(result):
            apart.append((row[VERSION], row[ID], result))
            left.append(replaced(row, None))
        else:
            left.append(row)
    return left, apart


def replaced(row: Row, result: str | None) -> Row:
    """Return a task's row with another result."""
    return (*row[:RESULT], result, *row[RESULT + 1 :])


def lacks(row: Row) -> bool:
    """Whether the result of a task's row may lie apart."""
    return row[RESULT] is None and row[STATUS] in ENDED


def add(connection: Connection, apart: Sequence[Row]) -> None:
    """Add rows of ``results``, within the caller's transaction; one statement, or none."""
    if apart:
        connection.execute(_ADD, [list(values) for values in zip(*apart, strict=True)]).fetchall()
