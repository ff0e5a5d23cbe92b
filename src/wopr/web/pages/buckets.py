"""Stretches of time: what happened in each of them, and what time it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from wopr.queue.queue import TaskQueue, inside


def series_of(buckets: Mapping[Any, Any] | None, count: int) -> list[float]:
    """Return what each of so many stretches of time has; those without anything have 0.

    Args:
        buckets: by the number of the stretch, whatever has become of its type on the way.
        count: so many there are; what is outside belongs to the one at the edge.
    """
    values = [0.0] * count
    for number, value in (buckets or {}).items():
        values[min(max(int(number), 0), count - 1)] += float(value)
    return values


def naive(moment: datetime) -> datetime:
    """Return an aware moment as it stands in the file."""
    return moment.replace(tzinfo=None) - (moment.utcoffset() or timedelta())


def now_of(queue: TaskQueue) -> datetime:
    """Return the time of the queue's clock, aware, in UTC."""
    return inside(queue).time.now()
