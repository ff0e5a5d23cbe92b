"""What is answered about a span of time: one point for each step."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from wopr.domain.notebook import html_table


class Resolution(str, Enum):
    """How long a step is."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    __str__ = str.__str__

    @property
    def seconds(self) -> int:
        """How many seconds it has."""
        return {"minute": 60, "hour": 3_600, "day": 86_400}[self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What happened in one step. Seconds are ``None`` where there was nothing to measure."""

    at: datetime
    """When the step begins; aware, in UTC."""
    arrivals: int = 0
    """So many tasks were enqueued."""
    starts: int = 0
    """So many attempts began."""
    succeeded: int = 0
    failed: int = 0
    """For good."""
    retried: int = 0
    """So many attempts failed that are followed by another one."""
    cancelled: int = 0
    success_rate: float | None = None
    """Of the tasks that succeeded or failed for good, from 0 to 1."""
    backlog: int = 0
    """So many tasks waited at its end, for whatever reason."""
    backlog_age: float | None = None
    """So many seconds the oldest one that waited for its first start had been due, at its end."""
    wait_p50: float | None = None
    wait_p95: float | None = None
    run_p50: float | None = None
    run_p95: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The points of one category, one name, or of all that was asked for."""

    part: str | None = None
    """The category or name; ``None``: all together."""
    points: tuple[Point, ...] = ()
    week_before: tuple[Point, ...] = ()
    """The same steps seven days earlier, if they were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSeries:
    """Points over time. Steps are cut in UTC; the last one may not be over."""

    by: Resolution
    since: datetime
    until: datetime
    series: tuple[Series, ...]
    approximate: tuple[str, ...] = ()
    """The fields of the points that are about right, and why is said in :attr:`notes`."""
    left_out: int = 0
    """So many categories or names with the fewest tasks are not among them."""
    notes: tuple[str, ...] = field(default=())

    def _repr_html_(self) -> str:
        names = ("at", "part", "arrivals", "succeeded", "failed", "backlog", "wait_p95", "run_p95")
        rows = [
            tuple(one.part if name == "part" else getattr(point, name) for name in names)
            for one in self.series
            for point in one.points
        ]
        return html_table(f"By {self.by}", names, rows, note=" ".join(self.notes))
