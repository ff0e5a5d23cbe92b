"""What categories and workers are shown with: slots, limits and their use, the last hour."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from wopr.core.past import Past
from wopr.core.series import EXACT_UP_TO, SAMPLED
from wopr.domain.controls import Pause
from wopr.domain.limits import Limit
from wopr.insights import pagequeries, queries
from wopr.ports.answers import WorkerInfo
from wopr.ports.asof import CategoryBacklog
from wopr.web.pages.asking import Ask
from wopr.web.pages.buckets import series_of
from wopr.web.pages.slots import Slot, SlotState, slots_of
from wopr.web.pages.travel import moment_of, past_of, time_of, until

HOUR = timedelta(hours=1)
BUCKETS = 60
SECONDS = 2.0
"""So old an answer may be that several pages share,"""
SLOW_SECONDS = 20.0
"""and one that looks at an hour, or at a day."""
FEWEST_TIMED = 5_000
"""Times are of so many tasks of a category at least, if it has so many."""
MOST_LIMITS = 100
"""Of so many rates it is counted how much of them is used."""


@dataclass(frozen=True, slots=True)
class LimitUse:
    """One thing that a limit says, and how much of it is used."""

    limit: Limit
    words: str
    used: int | None
    """``None``: each value of its key has a count of its own."""
    most: int

    @property
    def full(self) -> bool:
        """Whether nothing of it is left."""
        return self.used is not None and self.used >= self.most


@dataclass(slots=True)
class Hour:
    """What ended in one category within an hour."""

    ended: int
    failed: int
    buckets: dict[int, int]
    wait_p50: float | None = None
    wait_p95: float | None = None
    run_p95: float | None = None
    each: int = 1


@dataclass(slots=True)
class Workload:
    """One category."""

    name: str
    slots: tuple[Slot, ...] = ()
    waiting: int = 0
    due: int = 0
    running: int = 0
    oldest: float = 0.0
    ended: int = 0
    failed: int = 0
    wait_p50: float | None = None
    wait_p95: float | None = None
    run_p95: float | None = None
    each: int = 1
    """Of one task in so many these times are."""
    series: list[float] = field(default_factory=lambda: [0.0] * BUCKETS)
    pause: Pause | None = None
    limits: list[LimitUse] = field(default_factory=list)

    def count(self, state: str) -> int:
        """Return how many slots do that."""
        return sum(slot.state is SlotState(state) for slot in self.slots)


async def workers_of(ask: Ask) -> list[WorkerInfo]:
    """Return the workers as they are now, or were at the moment that is asked about."""
    past = past_of(ask)
    if past is None:
        return await ask.queue.worker_info()
    return await ask.recent.get(("workers", past.moment), SLOW_SECONDS, past.worker_info)


async def backlog_then(ask: Ask, past: Past) -> list[CategoryBacklog]:
    """Return what waited, was due and ran at a moment, by category."""
    return await ask.recent.get(("backlog", past.moment), SLOW_SECONDS, past.backlog)


async def slots_now(ask: Ask) -> dict[str, tuple[Slot, ...]]:
    """Return what the slots of each category do now, or did at the moment that is asked about."""

    async def found() -> dict[str, tuple[Slot, ...]]:
        workers = await workers_of(ask)
        names = sorted({one.task_name for one in workers if one.task_name})
        return slots_of(workers, await usual_runs(ask, names), time_of(ask))

    return await ask.recent.get(("slots", moment_of(ask)), SECONDS, found)


async def usual_runs(ask: Ask, names: list[str]) -> dict[str, float]:
    """Return how many seconds 95 of 100 runs of these names took at most, within a day."""
    if not names:
        return {}

    async def found() -> dict[str, float]:
        end = until(ask)
        since = end - timedelta(days=1)
        rows = await ask.queue.sql(pagequeries.USUAL_RUNS, since, names, end)
        return {row["name"]: row["run_p95"] for row in rows if row["run_p95"] is not None}

    key = ("usual", tuple(names), moment_of(ask))
    return await ask.recent.get(key, SLOW_SECONDS, found)


async def workloads(ask: Ask) -> list[Workload]:
    """Return all categories that have something: tasks, workers, a pause or a limit."""
    return await ask.recent.get(("workloads", moment_of(ask)), SECONDS, lambda: _workloads(ask))


async def _workloads(ask: Ask) -> list[Workload]:
    found: dict[str, Workload] = {}

    def one(name: str) -> Workload:
        return found.setdefault(name, Workload(name))

    for name, slots in (await slots_now(ask)).items():
        one(name).slots = slots
    for name, waiting, due, running, oldest in await _live(ask):
        load = one(name)
        load.waiting, load.due, load.running, load.oldest = waiting, due, running, oldest or 0.0
    hour = ("category hour", moment_of(ask))
    for name, ended in (await ask.recent.get(hour, SLOW_SECONDS, lambda: _hour(ask))).items():
        _take_hour(one(name), ended)
    for pause in await (past_of(ask) or ask.queue).pauses():
        if pause.category is not None:
            one(pause.category).pause = pause
    for use in await _uses(ask, found):
        one(use.limit.category).limits.append(use)
    return [found[name] for name in sorted(found)]


async def _live(ask: Ask) -> list[tuple[Any, ...]]:
    """Return by category what waits, is due and runs, and how long the oldest has been due."""
    past = past_of(ask)
    if past is None:
        return (await ask.queue.sql(queries.LIVE_BY_CATEGORY, until(ask))).rows
    return [
        (one.category, one.waiting, one.due, one.running, one.oldest_seconds)
        for one in await backlog_then(ask, past)
    ]


async def _hour(ask: Ask) -> dict[str, Hour]:
    """Return what ended in each category within the hour, and how long that had taken."""
    end, width = until(ask), HOUR.total_seconds() / BUCKETS
    found: dict[str, Hour] = {}
    for row in await ask.queue.sql(pagequeries.CATEGORY_HOUR, end - HOUR, width, end):
        buckets = dict(zip(row["buckets"], row["counts"], strict=True))
        found[row["category"]] = Hour(row["ended"], row["failed"], buckets)
    each = _one_in(sum(hour.ended for hour in found.values()))
    many = [name for name, hour in found.items() if hour.ended >= FEWEST_TIMED * each]
    for row in await ask.queue.sql(pagequeries.CATEGORY_TIMES, end - HOUR, end, each, many):
        if (hour := found.get(row["category"])) is not None:
            hour.wait_p50, hour.wait_p95, hour.run_p95 = list(row.values())[1:]
            hour.each = each if row["category"] in many else 1
    return found


def _one_in(count: int) -> int:
    """Return of one task in how many the times are told, if there are so many of them."""
    return max(1, count // SAMPLED) if count > EXACT_UP_TO else 1


def _take_hour(load: Workload, hour: Hour) -> None:
    for name in ("ended", "failed", "wait_p50", "wait_p95", "run_p95", "each"):
        setattr(load, name, getattr(hour, name))
    load.series = series_of(hour.buckets, BUCKETS)


async def _uses(ask: Ask, loads: dict[str, Workload]) -> list[LimitUse]:
    """Return what each limit says, and how much of that is used; nobody knows it of the past."""
    if ask.past:
        return []
    limits = [limit for limit in await ask.queue.limits() if not limit.empty]
    starts = await _starts(ask, limits)
    found = []
    for limit in limits:
        load = loads.get(limit.category, Workload(limit.category))
        if limit.concurrency is not None:
            words = f"{limit.concurrency:,} at once{_whose(limit)}"
            found.append(LimitUse(limit, words, _running(limit, load), limit.concurrency))
        if limit.rate is not None:
            words = f"{limit.says.describe().rpartition(', ')[2]}{_whose(limit)}"
            found.append(LimitUse(limit, words, starts.get(limit.name), limit.rate))
        if limit.backlog is not None:
            words = f"{limit.backlog:,} wait at most, then {limit.on_full.value}"
            found.append(LimitUse(limit, words, load.waiting, limit.backlog))
        if limit.fair_by is not None or limit.aging is not None:
            words = Limit(category=limit.category, fair_by=limit.fair_by, aging=limit.aging).words()
            found.append(LimitUse(limit, words, None, 0))
    return found


def _whose(limit: Limit) -> str:
    task = "" if limit.task is None else f" of {limit.task}"
    return task if limit.key is None else f"{task} per {limit.key}"


def _running(limit: Limit, load: Workload) -> int | None:
    """Return how many tasks run under a limit, by the slots that run them."""
    if limit.key is not None:
        return None
    if limit.task is None:
        return load.running
    return sum(slot.worker.task_name == limit.task for slot in load.slots)


async def _starts(ask: Ask, limits: list[Limit]) -> dict[str, int]:
    """Return how many tasks started within the period of each rate."""
    now = until(ask)
    rates = [one for one in limits if one.rate is not None and one.key is None][:MOST_LIMITS]
    if not rates:
        return {}
    since = [now - timedelta(seconds=one.per or 0.0) for one in rates]
    rows = await ask.queue.sql(
        pagequeries.STARTS_WITHIN,
        list(range(len(rates))),
        [one.category for one in rates],
        [one.task for one in rates],
        since,
        min(since),
    )
    counts = {row["number"]: row["starts"] for row in rows}
    return {one.name: counts.get(at, 0) for at, one in enumerate(rates)}
