"""How much is written at once: DuckDB holds all rows of a statement in memory, and twice."""

from __future__ import annotations

from collections.abc import Iterator

from wopr.domain.task import COLUMNS
from wopr.storage.duckdb.write import Row

PORTION_BYTES = 8 * 1024 * 1024
_ARGS, _KWARGS, _RESULT = (COLUMNS.index(column) for column in ("args", "kwargs", "result"))


def weight(row: Row) -> int:
    """Return about how many bytes a task's row takes."""
    return 200 + len(row[_ARGS]) + len(row[_KWARGS]) + len(row[_RESULT] or "")


def portions(rows: list[Row]) -> Iterator[list[Row]]:
    """Cut tasks' rows into portions of about :data:`PORTION_BYTES`."""
    portion: list[Row] = []
    size = 0
    for row in rows:
        portion.append(row)
        size += weight(row)
        if size > PORTION_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
