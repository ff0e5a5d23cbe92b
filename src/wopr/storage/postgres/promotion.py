"""How far the order of what is due is known: tasks that become due enter it by being promoted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

MOST = 2_000
"""So many are promoted in one statement: the first in the order of those whose time has come."""


@dataclass(frozen=True, slots=True)
class Known:
    """Up to a task, all that was due at a time stands in the order."""

    since: datetime
    """What has become due later may not."""
    priority: int
    place: int
    """Of the last one up to which all do."""
    is_some: bool = True
    """Whether there may be others behind that one."""

    def values(self) -> dict[str, object]:
        """Return it as claims say it."""
        return {"since": self.since, "priority": self.priority, "place": self.place}

    def has(self, priority: int, place: int) -> bool:
        """Whether a task stands where the order is known."""
        return not self.is_some or (-priority, place) <= (-self.priority, self.place)


def all_known(since: datetime) -> Known:
    """Return that all that was due at a time stands in the order."""
    return Known(since, -(2**31), 2**63 - 1, is_some=False)


EVERYTHING = all_known(datetime(1, 1, 1))  # noqa: DTZ001 - naive UTC, as all times of tasks
"""All that is due, unless a claim finds otherwise."""


def known_by(row: tuple[int, int | None, int | None], most: int, now: datetime) -> Known | None:
    """Return what is known by an answer of a promotion; ``None`` if there was none to promote."""
    count, priority, place = row
    if priority is None or place is None:
        return None
    return Known(now, priority, place) if count == most else all_known(now)
