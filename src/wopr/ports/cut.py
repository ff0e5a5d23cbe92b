"""Which limit an answer was cut at, and the way on for who needs all of it."""

from __future__ import annotations

from enum import Enum

from wopr.domain.spoken import counted


class Cut(str, Enum):
    """Which limit an answer was cut at."""

    ROWS = "rows"
    BYTES = "bytes"

    __str__ = str.__str__


_LIMITS = {
    Cut.ROWS: "that is its limit of rows (limit=, by default WOPR_TASKS_QUERY_ROWS of the process "
    "that asks)",
    Cut.BYTES: "all rows of an answer together may take 32 MB",
}
_MORE = {Cut.ROWS: "limit=N for more rows, ", Cut.BYTES: "fewer or shorter columns, "}


def why_cut(cut: Cut, rows: int) -> str:
    """Return what was cut off an answer, as a sentence."""
    return (
        f"The answer ends after {counted(rows, 'row')}, because {_LIMITS[cut]}, and there are more."
    )


def way_on(cut: Cut) -> str:
    """Return how to get at all of it."""
    return (
        f"Ask with {_MORE[cut]}with queue.sql(…, limit=None) for all of them in Arrow batches, or "
        "for an aggregate: count, sum, max."
    )
