"""One answer of two: what the tables said, and what an archive of other tasks said. Pure.

A task is in one of both, with all its history, so that counts add up. Where rows can't be put
together, more of them are asked for: all waits and runs, instead of their percentiles.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wopr.insights import pastqueries, seriesqueries

Row = tuple[Any, ...]
Together = Callable[[list[Row], Sequence[Any]], list[Row]]
"""Makes one answer of the rows of both, given what was asked with."""
MOST_TIMES = 300_000
"""So many waits and runs are put in order here."""


@dataclass(frozen=True, slots=True)
class Spanned:
    """How a question is asked of both."""

    question: str
    together: Together
    always: bool = False
    """Whether it is about tasks that had ended, too; else the archive knows nothing of later."""
    rows: int | None = None
    """So many rows of each at most."""

    def concerns(self, params: Sequence[Any], until: datetime | None) -> bool:
        """Whether the archive has something to say, which has tasks that ended until a moment."""
        moments = [one for one in params if isinstance(one, datetime)]
        return self.always or until is None or min(moments, default=until) <= until


def spanned(text: str) -> Spanned | None:
    """Return how a question about the past is asked of both; ``None`` if the tables know all."""
    found = _SPANNED.get(text)
    if found is None and (parts := pastqueries.parted(text)) is not None:
        base = _SPANNED.get(parts[0])
        return None if base is None else Spanned(text, base.together, base.always)
    return found


def _by(keys: int, *columns: Callable[[list[Any]], Any]) -> Together:
    """Return what makes one row of those with the same first columns, by column."""

    def together(rows: list[Row], _: Sequence[Any]) -> list[Row]:
        found: dict[Row, list[Row]] = defaultdict(list)
        for row in rows:
            found[row[:keys]].append(row[keys:])
        return [
            (
                *key,
                *(
                    make(list(values))
                    for make, values in zip(columns, zip(*rest, strict=True), strict=True)
                ),
            )
            for key, rest in found.items()
        ]

    return together


def _least(values: list[Any]) -> Any:
    return min((one for one in values if one is not None), default=None)


def _most(values: list[Any]) -> Any:
    return max((one for one in values if one is not None), default=None)


def _newest(rows: list[Row], params: Sequence[Any]) -> list[Row]:
    return sorted(rows, key=lambda row: -row[0])[: params[10]]


def _in_order(rows: list[Row], _: Sequence[Any]) -> list[Row]:
    return sorted(rows, key=lambda row: row[0])


def _all(rows: list[Row], _: Sequence[Any]) -> list[Row]:
    return rows


def _means(rows: list[Row], _: Sequence[Any]) -> list[Row]:
    found: dict[Any, list[Row]] = defaultdict(list)
    for category, count, mean in rows:
        found[category].append((count, mean))
    return [
        (category, total, sum(count * (mean or 0.0) for count, mean in parts) / total)
        for category, parts in found.items()
        if (total := sum(count for count, _ in parts))
    ]


def _times(rows: list[Row], _: Sequence[Any]) -> list[Row]:
    waits, runs = defaultdict[Row, list[float]](list), defaultdict[Row, list[float]](list)
    for step, part, wait, run in rows:
        if wait is not None:
            waits[step, part].append(wait)
        if run is not None:
            runs[step, part].append(run)
    return [(*key, _quantiles(waits[key]), _quantiles(runs[key])) for key in {**waits, **runs}]


def _quantiles(values: list[float]) -> list[float] | None:
    """Return the values that half, and 95 of 100, don't exceed; between two, in proportion."""
    if not values:
        return None
    values.sort()
    found = []
    for share in (0.5, 0.95):
        at = share * (len(values) - 1)
        low = int(at)
        high = min(low + 1, len(values) - 1)
        found.append(values[low] + (at - low) * (values[high] - values[low]))
    return found


_TIMES = Spanned(seriesqueries.TIMED, _times, rows=MOST_TIMES)
_SPANNED = {
    one.question: one
    for one in (
        Spanned(pastqueries.COUNTS, _by(2, sum), always=True),
        Spanned(pastqueries.WAITING, _by(2, sum)),
        Spanned(pastqueries.BACKLOG, _by(1, sum, sum, sum, _least)),
        Spanned(pastqueries.SELECTED, _newest, always=True),
        Spanned(pastqueries.SELECTED_NARROWLY, _newest, always=True),
        Spanned(pastqueries.HISTORIES, _in_order, always=True),
        Spanned(pastqueries.RUNNING, _all),
        Spanned(pastqueries.CLAIMS, _by(1, _most, _most, _most)),
        Spanned(seriesqueries.PARTS, _by(1, sum)),
        Spanned(seriesqueries.MOVES, _by(4, sum)),
        Spanned(seriesqueries.MOVES_OF, _by(4, sum)),
        Spanned(seriesqueries.ENDED, _by(0, sum)),
        Spanned(seriesqueries.ENDED_IN_STEPS, _by(1, sum)),
        Spanned(seriesqueries.ENDED_IN_STEPS, _by(1, sum)),
        Spanned(seriesqueries.RUNS, _means),
        Spanned(seriesqueries.AGES, _by(2, _most)),
    )
} | {seriesqueries.TIMES: _TIMES, seriesqueries.TIMES_ABOUT: _TIMES}
"""The others ask about what has not ended, or about acts."""
