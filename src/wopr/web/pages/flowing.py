"""What flowed in a stretch of time, and what is usual: the numbers behind the charts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from wopr.insights import flowqueries
from wopr.queue.queue import TaskQueue
from wopr.web.pages.buckets import naive

WEEK = timedelta(days=7)
SPANS = {
    "1h": ("the last hour", timedelta(hours=1), 60),
    "6h": ("the last 6 hours", timedelta(hours=6), 72),
    "24h": ("the last 24 hours", timedelta(days=1), 96),
    "7d": ("the last 7 days", timedelta(days=7), 84),
}
"""Each span: its words, its length, and in how many stretches it is cut."""


@dataclass(frozen=True, slots=True)
class Point:
    """One stretch of time. Rates are a minute, times in seconds."""

    at: datetime
    """Its beginning; aware, in UTC."""
    succeeded: float = 0.0
    failed: float = 0.0
    usual: float | None = None
    """What ended a minute a week before."""
    waiting: int = 0
    """At its end."""
    wait_p50: float | None = None
    wait_p95: float | None = None
    run_p50: float | None = None
    run_p95: float | None = None

    @property
    def share(self) -> float | None:
        """Which part of what ended succeeded."""
        ended = self.succeeded + self.failed
        return self.succeeded / ended if ended else None


@dataclass(frozen=True, slots=True)
class Ended:
    """What ended between two moments."""

    minutes: float
    succeeded: int = 0
    failed: int = 0
    wait_p95: float | None = None

    @property
    def ended(self) -> int:
        """How many in all."""
        return self.succeeded + self.failed

    @property
    def rate(self) -> float:
        """How many a minute."""
        return self.ended / self.minutes

    @property
    def share(self) -> float | None:
        """Which part of them succeeded."""
        return self.succeeded / self.ended if self.ended else None


async def series(
    queue: TaskQueue, span: str, category: str | None, waiting: int, now: datetime
) -> tuple[Point, ...]:
    """Return a span in whole stretches; ``waiting`` tasks do so now, a little after the last.

    Args:
        queue: that is asked.
        span: one of those of the page.
        category: only of this one.
        waiting: so many wait now.
        now: the end of the span, as it stands in the file.
    """
    _, length, count = SPANS[span]
    width = length.total_seconds() / count
    end = datetime.fromtimestamp(now.replace(tzinfo=UTC).timestamp() // width * width, UTC)
    begin = naive(end) - length
    ended, before, moves = await asyncio.gather(
        queue.sql(flowqueries.ENDED_SERIES, begin, naive(end), width, category),
        queue.sql(flowqueries.ENDED_SERIES, begin - WEEK, naive(end) - WEEK, width, category),
        queue.sql(flowqueries.WAITING_SERIES, begin, now, width, category),
    )
    begun = end - length
    return points(begun, count, width, list(ended), list(before), moves.rows, waiting)


def points(
    begin: datetime,
    count: int,
    width: float,
    ended: Iterable[dict[str, Any]],
    before: Iterable[dict[str, Any]],
    moves: Iterable[Sequence[Any]],
    waiting: int,
) -> tuple[Point, ...]:
    """Put the answers together: each stretch once, also where nothing happened. Pure."""
    by_stretch = {row["stretch"]: row for row in ended}
    usual = {row["stretch"]: row["succeeded"] + row["failed"] for row in before}
    more = {int(row[0]): int(row[1]) for row in moves}
    minutes = width / 60
    left, found = waiting - sum(one for at, one in more.items() if at >= count), []
    for at in reversed(range(count)):
        row = by_stretch.get(at, {})
        found.append(
            Point(
                begin + timedelta(seconds=at * width),
                succeeded=row.get("succeeded", 0) / minutes,
                failed=row.get("failed", 0) / minutes,
                usual=usual.get(at, 0) / minutes if usual else None,
                waiting=max(0, left),
                **{name: row.get(name) for name in ("wait_p50", "wait_p95", "run_p50", "run_p95")},
            )
        )
        left -= more.get(at, 0)
    return tuple(reversed(found))


async def compared(
    queue: TaskQueue, category: str | None, now: datetime
) -> tuple[Ended, Ended | None]:
    """Return what ended within the hour before a moment, and in the same hour of last week."""
    hour = timedelta(hours=1)
    recent, usual = await asyncio.gather(
        queue.sql(flowqueries.ENDED_WITHIN, now - hour, now, category),
        queue.sql(flowqueries.ENDED_WITHIN, now - WEEK - hour, now - WEEK, category),
    )
    last, before = Ended(60.0, *recent.rows[0]), Ended(60.0, *usual.rows[0])
    return last, before if before.ended else None
