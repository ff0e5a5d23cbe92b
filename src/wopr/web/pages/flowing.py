"""What flowed in a stretch of time, and what is usual: the numbers behind the charts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from wopr.insights import flowqueries, seriesqueries
from wopr.ports.series import Point, Resolution
from wopr.queue.queue import TaskQueue

WEEK = timedelta(days=7)
MICROSECONDS = 1_000_000
HOUR = 3_600 * MICROSECONDS
MOST_TIMED = 100_000
"""Of about so many tasks it is told how long they waited."""
FEWEST = 20
"""Of fewer that ended nobody knows what is usual."""
SPANS = {
    "1h": ("the last hour", timedelta(hours=1), Resolution.MINUTE),
    "24h": ("the last 24 hours", timedelta(days=1), Resolution.HOUR),
    "7d": ("the last 7 days", timedelta(days=7), Resolution.HOUR),
    "8w": ("the last 8 weeks", timedelta(weeks=8), Resolution.DAY),
}
"""Each span: its words, its length, and how long its steps are."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a chart. Rates are a minute, times in seconds, shares in percent."""

    at: datetime
    """Its beginning; aware, in UTC."""
    succeeded: float
    failed: float
    usual: float | None
    """What ended a minute a week before."""
    share: float | None
    waiting: int
    age: float
    """For so long the oldest one was due."""
    wait_p50: float | None
    wait_p95: float | None
    run_p50: float | None
    run_p95: float | None


@dataclass(frozen=True, slots=True)
class Charts:
    """A span step by step."""

    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    """What of it is about right only."""


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


async def series(queue: TaskQueue, span: str, category: str | None, now: datetime) -> Charts:
    """Return a span step by step, beside what ended a week before.

    Args:
        queue: that is asked.
        span: one of those of the page.
        category: only of this one.
        now: the end of the span, as it stands in the file.
    """
    _, length, by = SPANS[span]
    end = now.replace(tzinfo=UTC)
    found = await queue.series(by, since=end - length, until=end, category=category)
    if not found.series:
        return Charts()
    [one] = found.series
    since = one.points[0].at.replace(tzinfo=None) - WEEK
    width = by.seconds * MICROSECONDS
    rows = await queue.sql(seriesqueries.ENDED_IN_STEPS, since, now - WEEK, width, category)
    before = dict(rows.rows)
    notes = tuple(one for one in found.notes if "about right" in one)
    return Charts(steps(one.points, before, by.seconds, end), notes)


def steps(
    points: Sequence[Point], before: Mapping[int, int], seconds: int, end: datetime
) -> tuple[Step, ...]:
    """Return what charts show of the points of steps that are over. Pure.

    Args:
        points: the steps.
        before: how many ended in each step of the week before, by its number since 1970.
        seconds: how long a step is.
        end: what is not over then is left out.
    """
    minutes, step = seconds / 60, timedelta(seconds=seconds)
    return tuple(
        Step(
            one.at,
            one.succeeded / minutes,
            one.failed / minutes,
            _usual(before, one.at, seconds),
            None if one.success_rate is None else one.success_rate * 100,
            one.backlog,
            one.backlog_age or 0.0,
            one.wait_p50,
            one.wait_p95,
            one.run_p50,
            one.run_p95,
        )
        for one in points
        if one.at + step <= end
    )


def _usual(before: Mapping[int, int], at: datetime, seconds: int) -> float | None:
    """Return what ended a minute a week before a step; ``None`` if nothing is known of then."""
    if not before:
        return None
    number = int((at - WEEK).timestamp()) // seconds
    return before.get(number, 0) / (seconds / 60)


async def compared(
    queue: TaskQueue, category: str | None, now: datetime
) -> tuple[Ended, Ended | None]:
    """Return what ended within the hour before a moment, and in the same hour of last week."""
    last, before = await asyncio.gather(
        _ended(queue, category, now), _ended(queue, category, now - WEEK)
    )
    return last, before if before.ended >= FEWEST else None


async def _ended(queue: TaskQueue, category: str | None, until: datetime) -> Ended:
    """Return what ended within the hour before a moment."""
    since = until - timedelta(hours=1)
    if category is None:
        count = (await queue.sql(seriesqueries.ENDED, since, until, 1)).scalar()
    else:  # of few tasks beside very many all are looked at
        steps = await queue.sql(seriesqueries.ENDED_IN_STEPS, since, until, HOUR, category)
        count = sum(ended for _, ended in steps.rows)
    each = max(1, count // MOST_TIMED)
    found = await queue.sql(flowqueries.ENDED_WITHIN, since, until, category, each)
    return Ended(60.0, *found.rows[0])
