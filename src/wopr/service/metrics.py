"""What a queue does, in numbers for Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import accumulate
from typing import TYPE_CHECKING

from wopr.access.sharedworkings import SharedWorkings
from wopr.domain.errors import InvalidCallError, WoprError
from wopr.insights import queries
from wopr.insights.workings import Workings
from wopr.ports.storage import QueryLimits
from wopr.queue.queue import TaskQueue, inside
from wopr.service.counts import BOUNDS, EVENTS, MOST_SERIES, OTHER, Counts, Histogram, Series
from wopr.service.reach import workings_of

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

log = logging.getLogger(__name__)

METRICS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "wopr_build_info": ("gauge", ("version", "python"), "Always 1"),
    "wopr_history_counted": (
        "gauge",
        (),
        "Whether counters and histograms include what happened before this process: 1 or 0",
    ),
    "wopr_task_events_total": (
        "counter",
        ("category", "task", "event"),
        f"Tasks that were {', '.join(EVENTS[:-1])} or {EVENTS[-1]}",
    ),
    "wopr_failed_attempts_total": (
        "counter",
        ("category", "task"),
        "Attempts that failed, whether there was another one or not",
    ),
    "wopr_run_seconds": (
        "histogram",
        ("category", "task"),
        "How long attempts ran that succeeded, failed or were cancelled",
    ),
    "wopr_wait_seconds": (
        "histogram",
        ("category", "task"),
        "How long tasks that depend on no others waited from when they were due to their "
        "first start",
    ),
    "wopr_tasks_waiting": ("gauge", ("category",), "Tasks that are PENDING or RETRY"),
    "wopr_tasks_due": ("gauge", ("category",), "Of those, the ones that may run now"),
    "wopr_tasks_running": ("gauge", ("category",), "Tasks that are STARTED"),
    "wopr_oldest_due_seconds": (
        "gauge",
        ("category",),
        "Since when the oldest task is due that depends on no others; 0 when none is",
    ),
    "wopr_workers": ("gauge", ("category",), "Worker slots"),
    "wopr_workers_busy": ("gauge", ("category",), "Worker slots that run a task"),
    "wopr_functions_abandoned": (
        "gauge",
        (),
        "Functions that go on although their attempt was ended, in threads and foreign executors",
    ),
    "wopr_journal_changes": (
        "gauge",
        (),
        "Changes that are durable in the journal and not in the tables yet",
    ),
    "wopr_journal_bytes": ("gauge", (), "How many bytes those take"),
    "wopr_journal_seconds": ("gauge", (), "Since when there are some"),
    "wopr_journal_synced": ("gauge", (), "1 if each change is on disk before it is acknowledged"),
    "wopr_journal_inline": ("gauge", (), "1 while a lone change is synced where it is made"),
    "wopr_paused": ("gauge", ("kind", "name"), "1 for each category and each task that is paused"),
    "wopr_schedule_missed_total": (
        "counter",
        ("schedule",),
        "Planned times that a schedule left out because they were late",
    ),
}
"""Name -> type, labels, meaning. The whole list: what is not in it is not served."""

PATIENCE = 3.0
"""Seconds that a scrape waits for the storage; then it goes without what that would say."""
_LIMITS = QueryLimits(seconds=PATIENCE, rows=100_000, own=True)

Values = dict[tuple[str, ...], float]
"""Values of the labels -> value."""


class NotCountedError(Exception):
    """There are no numbers now, and why: those that there are would be too small."""


@dataclass(slots=True, eq=False)
class _Shot:
    """All numbers at one moment; a collector of prometheus_client."""

    plain: dict[str, Values]
    series: list[tuple[str, str, Series]]

    def collect(self) -> Iterator[Metric]:
        """Give them as prometheus_client has them."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        for name, (kind, labels, meaning) in METRICS.items():
            if kind == "histogram":
                histograms = HistogramMetricFamily(name, meaning, labels=labels)
                for label, histogram in self._histograms(name):
                    histograms.add_metric(label, _buckets(histogram), histogram.seconds)
                yield histograms
                continue
            family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            values = family(name.removesuffix("_total"), meaning, labels=labels)
            for label_values, value in self.plain.get(name, {}).items():
                values.add_metric(label_values, value)
            yield values

    def _histograms(self, name: str) -> Iterator[tuple[tuple[str, str], Histogram]]:
        for category, task, series in self.series:
            one = series.runs if name == "wopr_run_seconds" else series.waits
            yield (category, task), one

    def render(self) -> bytes:
        """Return the text format of Prometheus."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)  # a collector by its shape
        return generate_latest(registry)


class Metrics:
    """The numbers of one queue, told by the process that owns its file, or by each that shares it.

    Counters and histograms begin with the history in a file, so a restart does not lose
    them; then each transition is counted as it is told. On PostgreSQL each process counts what it
    does itself. Gauges are read when they are asked for.

    Raises:
        InvalidCallError: prometheus_client is not installed.
    """

    def __init__(self, queue: TaskQueue) -> None:
        if find_spec("prometheus_client") is None:
            raise InvalidCallError(
                "Metrics need prometheus-client, which is not installed: "
                "pip install 'wopr[service]'."
            )
        self._queue = queue
        self._counts = Counts()
        self._workings: Workings | SharedWorkings | None = None
        self._unobserve: Callable[[], None] | None = None
        self._counting: asyncio.Task[bool] | None = None

    def attach(self) -> None:
        """Count what the queue does from now on, and what it did in the background.

        Does nothing while the queue is not open; the next :meth:`text` tries again.
        """
        workings = workings_of(self._queue)
        if workings == self._workings:
            return
        self._detach()
        if workings is None:
            return
        self._workings, self._counts = workings, Counts()
        for definition in inside(self._queue).registry.definitions.values():
            self._counts.declare(definition.category, definition.name)  # a rate needs the zero
        self._unobserve = workings.observe(self._counts.observe)
        self._counting = asyncio.create_task(_count(self._counts, workings))

    def _detach(self) -> None:
        unobserve, self._unobserve, self._workings = self._unobserve, None, None
        if unobserve is not None:
            unobserve()
        if self._counting is not None:
            self._counting.cancel()

    async def stop(self) -> None:
        """Count no more. Idempotent."""
        self._detach()
        if self._counting is not None:
            await asyncio.wait({self._counting})

    async def text(self) -> bytes:
        """Return all numbers in the text format of Prometheus.

        Raises:
            NotCountedError: the queue is not open here, or its history is still being counted.
        """
        self.attach()
        workings, counting = self._workings, self._counting
        if workings is None or counting is None:
            raise NotCountedError("The queue is not open in the process that was asked.")
        await asyncio.wait({counting}, timeout=PATIENCE)
        if not counting.done() or counting.cancelled():
            raise NotCountedError("The history is still being counted; ask again.")
        found = await self._read(workings)
        series = list(self._counts.snapshot())
        for category, name, numbers in series:
            found["wopr_failed_attempts_total"][category, name] = float(numbers.failed_attempts)
            for event, count in zip(EVENTS, numbers.events, strict=True):
                found["wopr_task_events_total"][category, name, event] = float(count)
        found["wopr_history_counted"] = {(): float(counting.result())}
        return await asyncio.to_thread(_Shot(found, series).render)

    # -- gauges ---------------------------------------------------------------

    async def _read(self, workings: Workings | SharedWorkings) -> dict[str, Values]:
        found: dict[str, Values] = {name: {} for name in METRICS}
        found["wopr_build_info"] = {(version("wopr"), platform.python_version()): 1.0}
        for category, slots in self._queue.workers.items():
            label = self._counts.known_category(category)
            busy = sum(slot.attempt is not None for slot in slots)
            _add(found["wopr_workers"], label, len(slots))
            _add(found["wopr_workers_busy"], label, busy)
        found["wopr_functions_abandoned"] = {(): float(workings.abandoned())}
        if (journal := workings.journal) is not None:
            found["wopr_journal_changes"] = {(): float(journal.rows)}
            found["wopr_journal_bytes"] = {(): float(journal.bytes)}
            found["wopr_journal_seconds"] = {(): journal.seconds}
            found["wopr_journal_synced"] = {(): float(journal.synced)}
            found["wopr_journal_inline"] = {(): float(journal.inline)}
        for pause in workings.pauses()[:MOST_SERIES]:
            kind = "task" if pause.category is None else "category"
            found["wopr_paused"][kind, pause.category or pause.task or ""] = 1.0
        with contextlib.suppress(WoprError, TimeoutError):  # a gap says it better than an old value
            async with asyncio.timeout(PATIENCE):
                await self._read_storage(workings, found)
        return found

    async def _read_storage(
        self, workings: Workings | SharedWorkings, found: dict[str, Values]
    ) -> None:
        backlog = await workings.query(queries.LIVE_BY_CATEGORY, [workings.now()], _LIMITS)
        missed = await workings.query(queries.MISSED_OCCURRENCES, [], _LIMITS)
        idle = set(self._queue.categories) | set(self._queue.workers)
        idle -= {row[0] for row in backlog}
        for category, waiting, due, running, oldest in [
            *backlog,
            *((category, 0, 0, 0, 0.0) for category in sorted(idle)),
        ]:
            label = self._counts.known_category(category)
            _add(found["wopr_tasks_waiting"], label, waiting)
            _add(found["wopr_tasks_due"], label, due)
            _add(found["wopr_tasks_running"], label, running)
            ages = found["wopr_oldest_due_seconds"]
            ages[(label,)] = max(ages.get((label,), 0.0), oldest)
        found["wopr_schedule_missed_total"] = _by_name(missed)


async def _count(counts: Counts, workings: Workings | SharedWorkings) -> bool:
    """Count the history, if there is one to count; return whether that worked."""
    if not workings.counted:
        return False
    try:
        await counts.read_history(workings)
    except WoprError as error:
        log.warning("Metrics count from now on only, because the history can't be read: %s", error)
        return False
    return True


def _add(values: Values, label: str, value: float) -> None:
    values[(label,)] = values.get((label,), 0.0) + value


def _by_name(rows: Iterable[tuple[str, int]]) -> Values:
    """Return the numbers by name; of those that are too many together."""
    counted: Counter[tuple[str, ...]] = Counter()
    for number, (name, value) in enumerate(rows):
        counted[(name if number < MOST_SERIES else OTHER,)] += value
    return {label: float(value) for label, value in counted.items()}


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Return bound -> how many took so long at most, as prometheus_client has it."""
    bounds = [*map(str, BOUNDS), "+Inf"]
    return list(zip(bounds, map(float, accumulate(histogram.buckets)), strict=True))
