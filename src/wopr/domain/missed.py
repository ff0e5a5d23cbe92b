"""Which planned times were missed: how many, and the newest of them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple

from wopr.domain.misfire import newest
from wopr.domain.triggers import Interval, Trigger

LISTED = 100
"""So many missed times a schedule remembers."""
MOST_COUNTED = 2_000
"""So far one look counts times that have to be asked for one by one; those of an interval are
computed."""


class Missed(NamedTuple):
    """Planned times that were left out because they were late."""

    number: int = 0
    """At least so many; exact for an interval, and up to :data:`MOST_COUNTED`."""
    times: tuple[datetime, ...] = ()
    """The newest, in order."""


NOTHING_MISSED = Missed()


def missed_between(
    trigger: Trigger, after: datetime, last: datetime, fired: Collection[datetime]
) -> Missed:
    """Return the occurrences in (``after``, ``last``] without those that fire."""
    kept = set(fired)
    times, _, _ = newest(trigger, after, last, LISTED + len(kept))
    left_out = tuple(one for one in times if one not in kept)
    number = _count(trigger, after, last) - len(kept)
    return Missed(max(number, len(left_out)), left_out[-LISTED:])


def _count(trigger: Trigger, after: datetime, last: datetime) -> int:
    """Return how many occurrences are in (``after``, ``last``], or that there are so many."""
    if isinstance(trigger, Interval) and trigger.anchor is not None:
        first = trigger.anchor - trigger.every
        upto = [max(timedelta(0), moment - first) // trigger.every for moment in (after, last)]
        return upto[1] - upto[0]
    count, moment = 0, trigger.next_after(after)
    while moment is not None and moment <= last and count < MOST_COUNTED:
        count, moment = count + 1, trigger.next_after(moment)
    return count
