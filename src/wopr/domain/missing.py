"""Which planned times of a schedule came to no task: what people ask when something did not run."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from wopr.domain.misfire import Overlap
from wopr.domain.schedule import Schedule

WINDOW = timedelta(days=1)
LEAST_LATE = timedelta(minutes=1)
MOST = 1_500
"""A schedule that has more times in the window is not looked at."""


def may_lack(row: Schedule, now: datetime) -> bool:
    """Whether a schedule may have times without a task: it missed some, or is late."""
    if row.paused_at is not None:
        return False
    late = row.next_fire_at is not None and row.next_fire_at < now - _grace(row)
    return late or (row.missed > 0 and not _leaves_out(row))


def missing(row: Schedule, had: Collection[datetime], now: datetime) -> tuple[datetime, ...]:
    """Return the times of the last day that were planned and have no task, oldest first.

    Args:
        row: with :func:`may_lack`.
        had: the planned times that have a task, aware.
        now: those that may still be fired in time are left out.
    """
    begins = [row.created_at, row.updated_at, row.start_at, now - WINDOW]
    if _leaves_out(row):
        begins.append(row.next_fire_at)
    moment = max(one for one in begins if one is not None) - timedelta(microseconds=1)
    found: list[datetime] = []
    for _ in range(MOST):
        after = row.after(moment)
        if after is None or after > now - _grace(row):
            return tuple(found)
        if after not in had:
            found.append(after)
        moment = after
    return ()


def _leaves_out(row: Schedule) -> bool:
    """Whether times without a task may be those left out for an earlier one: nobody knows which."""
    return row.overlap is not Overlap.ALLOW and row.skipped > 0


def _grace(row: Schedule) -> timedelta:
    return max(LEAST_LATE, timedelta(seconds=row.misfire_grace))
