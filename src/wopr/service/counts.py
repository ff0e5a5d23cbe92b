"""What happened to tasks, in numbers: from the history first, then event by event."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol

from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.insights import queries
from wopr.ports.storage import QueryLimits

MOST_SERIES = 500
"""So many pairs of category and task have numbers of their own; the rest shares some."""
OTHER = "other"

BOUNDS: tuple[float, ...] = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0),
)
"""Upper bounds of the histograms' buckets, in seconds; one more has no bound."""

EVENTS = (
    "enqueued",
    "started",
    "succeeded",
    "retrying",
    "failed",
    "cancelled",
    "interrupted",
    "recovered",
    "renewed",
)
"""The kinds of :mod:`wopr.domain.events` that are counted: what begins or ends something."""
_MOVES = ("add", "claim", "succeed", "retry", "fail", "cancel", "interrupt", "recover", "renew")
_SLOTS = {move: slot for slot, move in enumerate(_MOVES)}
_STARTED = EVENTS.index("started")
_OUTCOMES = frozenset(map(EVENTS.index, ("succeeded", "retrying", "failed", "cancelled")))
_FAILURES = frozenset(map(EVENTS.index, ("retrying", "failed")))
_CRASH_LOOP = "crash loop"  # it ends at a recovery, long after its process died

_SLICE = 250_000
"""Transitions looked at in one query: little memory, and other reads get their turn."""
_LIMITS = QueryLimits(seconds=600.0, rows=1_000_000, own=True)


class HasHistory(Protocol):
    """What can be asked what happened before."""

    async def query(
        self, query: str, params: Sequence[Any], limits: QueryLimits
    ) -> list[tuple[Any, ...]]:
        """Ask the tables."""
        ...


class Histogram:
    """How often something took how long."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, began: datetime, ended: datetime) -> None:
        """Count one; a clock that stepped back makes it nothing, not less."""
        seconds = max((ended - began).total_seconds(), 0.0)
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def add_counted(self, counts: Iterable[int], seconds: float) -> None:
        """Count many: how many in each bucket, and how long all of them took."""
        self.buckets = [one + more for one, more in zip(self.buckets, counts, strict=True)]
        self.seconds += seconds

    def copy(self) -> Histogram:
        """Return one that stays as it is."""
        other = Histogram()
        other.add_counted(self.buckets, self.seconds)
        return other


class Series:
    """The numbers of one task in one category."""

    __slots__ = ("events", "failed_attempts", "runs", "waits")

    def __init__(self) -> None:
        self.events = [0] * len(EVENTS)
        self.failed_attempts = 0
        self.runs = Histogram()
        self.waits = Histogram()

    def ended(self, slot: int, began: datetime | None, transition: Transition) -> None:
        """Count how an attempt ended, and how long it ran."""
        if slot in _FAILURES:
            self.failed_attempts += 1
        if began is not None and transition.reason != _CRASH_LOOP:
            self.runs.add(began, transition.occurred_at)

    def copy(self) -> Series:
        """Return one that stays as it is."""
        other = Series()
        other.events = list(self.events)
        other.failed_attempts = self.failed_attempts
        other.runs, other.waits = self.runs.copy(), self.waits.copy()
        return other


class Counts:
    """The numbers of one queue, used on its event loop only.

    Each transition is counted once, whether the history had it or somebody told of it:
    it is told after it is on disk, so a read of the history may have seen it already.
    """

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], Series] = {}
        self._categories: set[str] = set()
        self._first: int | None = None  # number of the first transition that was told
        self._in_history = -1
        """Transitions up to this number are the history's to count."""

    def declare(self, category: str, name: str) -> Series:
        """Return the numbers of a task; those of the others, when there are too many."""
        series = self._series.get((category, name))
        if series is not None:
            return series
        if len(self._series) >= MOST_SERIES and name != OTHER:
            return self.declare(category if category in self._categories else OTHER, OTHER)
        self._categories.add(category)
        series = self._series[category, name] = Series()
        return series

    def observe(self, record: TaskRecord, transition: Transition) -> None:
        """Count a transition that is on disk."""
        if transition.seq <= self._in_history:
            return
        if self._first is None:
            self._first = transition.seq
        slot = _SLOTS.get(transition.move._value_)
        if slot is None:  # a release, or a storage's own call
            return
        series = self._series.get((record.category, record.name))
        if series is None:
            series = self.declare(record.category, record.name)
        series.events[slot] += 1
        if slot == _STARTED:
            if transition.attempt == 1 and record.depends_on is None:
                due = max(record.created_at, record.run_at or record.created_at)
                series.waits.add(due, transition.occurred_at)
        elif transition.from_status is TaskStatus.STARTED and slot in _OUTCOMES:
            series.ended(slot, record.started_at, transition)

    async def read_history(self, workings: HasHistory) -> None:
        """Count what happened before the first transition that is told.

        Raises:
            WoprError: the storage can't answer.
        """
        newest = (await workings.query(queries.NEWEST_TRANSITION, [], _LIMITS))[0][0]
        # What was told meanwhile is counted already, and all before it is on disk.
        until = newest if self._first is None else self._first - 1
        self._in_history = until
        rows: list[tuple[Any, ...]] = []
        for low in range(0, until, _SLICE):
            params = [low, min(low + _SLICE, until), until, list(BOUNDS)]
            rows += await workings.query(queries.HISTORY_IN_NUMBERS, params, _LIMITS)
        for row in rows:
            self._add(*row)

    def _add(
        self,
        name: str,
        category: str,
        event: str,
        ran: bool,  # noqa: FBT001 - a row of the query
        count: int,
        buckets: dict[float, int] | None,
        seconds: float | None,
    ) -> None:
        series = self.declare(category, name)
        slot = EVENTS.index(event)
        series.events[slot] += count
        if ran and slot in _FAILURES:
            series.failed_attempts += count
        if buckets and seconds is not None:
            counts = [buckets.get(bound, 0) for bound in BOUNDS]
            beyond = sum(buckets.values()) - sum(counts)
            histogram = series.waits if slot == _STARTED else series.runs
            histogram.add_counted([*counts, beyond], seconds)

    def snapshot(self) -> Iterator[tuple[str, str, Series]]:
        """Give category, name and numbers as they are now."""
        for (category, name), series in self._series.items():
            yield category, name, series.copy()

    def known_category(self, category: str) -> str:
        """Return the category, or what stands for it when there are too many."""
        if category not in self._categories:
            if len(self._categories) >= MOST_SERIES:
                return OTHER
            self._categories.add(category)
        return category
