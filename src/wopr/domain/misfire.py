"""What becomes of occurrences whose time has passed: one pure decision.

Nothing enumerates what was missed. A schedule of every second that slept for three years
is decided by looking at the newest occurrences only.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from wopr.domain.errors import InvalidScheduleSpecificationError
from wopr.domain.triggers import Trigger

_TICK = timedelta(microseconds=1)
_FIRST_WINDOW = timedelta(minutes=1)
MOST_AT_ONCE = 10_000
"""So many occurrences one look at the clock fires at most."""


class Misfire(Enum):
    """What to do with occurrences that are later than the grace time."""

    SKIP = "skip"
    """Leave them out."""
    RUN_ONCE = "run_once"
    """Fire the newest of them, if nothing is on time."""
    RUN_ALL = "run_all"
    """Fire the newest of them, up to the limit."""


class Overlap(Enum):
    """What to do when an occurrence is due while an earlier one has not ended."""

    ALLOW = "allow"
    """Run both."""
    SKIP = "skip"
    """Leave the new one out."""
    QUEUE_ONE = "queue_one"
    """Let one wait; leave out those after it."""
    CANCEL_RUNNING = "cancel_running"
    """Cancel the earlier one."""


class Due(NamedTuple):
    """What a schedule does now.

    Attributes:
        fire: Planned times (UTC) to fire, oldest first.
        missed: Whether any occurrence is left out; :mod:`wopr.domain.missed` says which.
        next_at: The next planned time after now; None when there is none.
    """

    fire: list[datetime]
    missed: bool
    next_at: datetime | None


def due_occurrences(
    trigger: Trigger,
    after: datetime,
    now: datetime,
    *,
    misfire: Misfire,
    limit: int,
    grace: timedelta,
    end_at: datetime | None = None,
) -> Due:
    """Decide about the occurrences in (``after``, ``now``]. All times aware, in UTC.

    An occurrence is on time while it is at most ``grace`` old; then it is late. Whatever the
    policy, at most ``limit`` on-time and ``limit`` late ones fire, the newest of each.

    Args:
        trigger: When the schedule fires.
        after: The newest planned time that was decided, or a moment before the first.
        now: The current time. Before ``after`` (the clock was put back), nothing is due and
            nothing fires twice.
        misfire: SKIP fires the on-time ones; RUN_ONCE those, or else the newest late one;
            RUN_ALL late and on-time ones.
        limit: At least 1.
        grace: At least zero.
        end_at: The last moment that still counts.

    Raises:
        InvalidScheduleSpecificationError: ``limit`` or ``grace`` is out of its range.
    """
    if limit < 1 or grace < timedelta(0):
        raise InvalidScheduleSpecificationError(
            f"The misfire limit must be at least 1 and the grace time at least zero, "
            f"not {limit} and {grace}."
        )
    last = now if end_at is None else min(now, end_at)
    first = trigger.next_after(after)
    if first is None or first > last:
        return Due([], missed=False, next_at=_until(end_at, first))
    edge = after if grace >= now - after else now - grace - _TICK  # on time is what comes after it
    fire, cut, upcoming = newest(trigger, edge, last, limit)
    if first <= edge:
        late: list[datetime] = []
        if misfire is Misfire.RUN_ALL or (misfire is Misfire.RUN_ONCE and not fire):
            count = limit if misfire is Misfire.RUN_ALL else 1
            late = newest(trigger, after, min(edge, last), count)[0]
        fire = late + fire
        cut = cut or late[:1] != [first]
    return Due(fire, missed=cut, next_at=_until(end_at, upcoming))


def _until(end_at: datetime | None, moment: datetime | None) -> datetime | None:
    return None if moment is None or (end_at is not None and moment > end_at) else moment


def newest(
    trigger: Trigger, low: datetime, high: datetime, limit: int
) -> tuple[list[datetime], bool, datetime | None]:
    """Return the newest occurrences in (low, high], whether there are older ones, and the next.

    Where there are many, it looks back from ``high`` through ever wider windows, and halves
    the step when one holds too many: the work grows with ``limit`` and the logarithm of the
    time, not with the number of occurrences.
    """
    times, upcoming = _walk(trigger, low, high, 2 * limit)
    if len(times) <= 2 * limit:
        return times[-limit:], len(times) > limit, upcoming
    far, near = low, high  # too many follow the one, too few the other
    window = _FIRST_WINDOW
    while True:
        start = high - window if window < high - far else far + (near - far) // 2
        times, upcoming = _walk(trigger, start, high, 2 * limit)
        if len(times) > 2 * limit:
            far = start
        elif len(times) < limit:
            near = start
            window *= 2
        else:
            return times[-limit:], True, upcoming


def _walk(
    trigger: Trigger, start: datetime, end: datetime, most: int
) -> tuple[list[datetime], datetime | None]:
    """Return the occurrences in (start, end], at most one more than ``most``, and the next."""
    times: list[datetime] = []
    moment = trigger.next_after(start)
    while moment is not None and moment <= end and len(times) <= most:
        times.append(moment)
        moment = trigger.next_after(moment)
    return times, moment
