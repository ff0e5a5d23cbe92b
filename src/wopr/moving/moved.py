"""What a move came to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from wopr.storage.moving.tables import Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A queue that is at another home now."""

    source: str
    target: str
    tasks: int
    transitions: int
    logs: int
    days: int
    """So many days of tasks, transitions and log lines were compared, row by row."""
    paused_seconds: float
    """So long nothing was started, and calls waited."""


def days_of(sums: Sums) -> int:
    """Return how many days there are."""
    found: set[date] = {day for _, day in sums.by_day if day is not None}
    return len(found)
