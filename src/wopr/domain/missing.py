"""Which planned times of a schedule came to no task: what people ask when something did not run."""

from __future__ import annotations

from datetime import datetime, timedelta

from wopr.domain.misfire import Overlap
from wopr.domain.retaining import kept_for
from wopr.domain.schedule import Schedule

WINDOWS = (timedelta(days=7), timedelta(days=1), timedelta(hours=1), timedelta(minutes=10))
"""So far back it is looked: the first of these in which a schedule has no more than MOST times."""
LEAST_LATE = timedelta(minutes=1)
MOST = 1_500
_TICK = timedelta(microseconds=1)


def may_lack(row: Schedule, now: datetime) -> bool:
    """Whether a schedule may have times without a task: it missed some, or is late."""
    if row.paused_at is not None:
        return False
    late = row.next_fire_at is not None and row.next_fire_at < now - _grace(row)
    return late or (row.missed > 0 and not _leaves_out(row))


def expected(row: Schedule, now: datetime, gone: datetime | None = None) -> tuple[datetime, ...]:
    """Return the times of the last week that must have a task by now, oldest first.

    Of a schedule that fires often it is less than a week.

    Args:
        row: with :func:`may_lack`.
        now: those that may still be fired in time are left out.
        gone: tasks that ended until then may have been deleted; nobody knows of these.
    """
    planned = (row.created_at, row.updated_at)  # a plan's first time is after these, never at them
    begins = [one + _TICK for one in planned if one is not None]
    begins += [one for one in (row.start_at, gone, _kept_since(row, now)) if one is not None]
    if _leaves_out(row) and row.next_fire_at is not None:
        begins.append(row.next_fire_at)
    begin = max(begins, default=None)
    last = now - _grace(row)
    for window in WINDOWS:
        first = now - window if begin is None else max(begin, now - window)
        times = _between(row, first, last)
        if times is not None:
            return times
    return ()


def _between(row: Schedule, first: datetime, last: datetime) -> tuple[datetime, ...] | None:
    """Return the planned times from one moment to another; ``None`` if there are too many."""
    moment = first - _TICK
    found: list[datetime] = []
    while len(found) <= MOST:
        after = row.after(moment)
        if after is None or after > last:
            return tuple(found)
        found.append(after)
        moment = after
    return None


def _kept_since(row: Schedule, now: datetime) -> datetime | None:
    """Return since when its tasks must still be there, if they say how long they are kept.

    Of times that were not fired yet no task can have been deleted.
    """
    span = kept_for(row.options)
    if span is None:
        return None
    since = now - min(span, WINDOWS[0])
    return since if row.next_fire_at is None else min(since, row.next_fire_at)


def _leaves_out(row: Schedule) -> bool:
    """Whether times without a task may be those left out for an earlier one: nobody knows which."""
    return row.overlap is not Overlap.ALLOW and row.skipped > 0


def _grace(row: Schedule) -> timedelta:
    return max(LEAST_LATE, timedelta(seconds=row.misfire_grace))
