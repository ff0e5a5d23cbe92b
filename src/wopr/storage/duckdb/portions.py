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


class Portion:
    """How many old tasks retire together: as many as made so many bytes before."""

    FIRST = 250
    MOST = 20_000
    BYTES = 16 * 1024 * 1024
    """Compressed."""

    def __init__(self) -> None:
        self.count = self.FIRST

    def read(self, tasks: int, size: int) -> None:
        """Note that so many made so many bytes."""
        fitting = self.BYTES * tasks // max(size, 1)
        self.count = max(1, min(fitting, 8 * self.count, self.MOST))
