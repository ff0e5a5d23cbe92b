"""Compare what was with what would have been."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from wopr.config.settings import Settings
from wopr.domain.limits import Limit
from wopr.ports.whatif import MOST_RUNS, Run, Setting, Waits, WhatIf, WhatIfCategory
from wopr.simulation.replaying import Replay

_ALWAYS = (
    "Each start counts as a task of its own that arrived when it did, retries among them; so a "
    "task that starts sooner does not fail sooner, and what it enqueues does not come sooner.",
    "Run times are those of then: work that is slower beside more of its kind is not known to be.",
    "Pauses, deaths of workers and what the queue itself costs are left out.",
)
_KEYED = "Limits with a key, turns (fair_by) and bounds of the backlog don't count."


def whatif(
    runs: Sequence[Run],
    setting: Setting,
    limits: Sequence[Limit],
    now: Mapping[str, int],
    since: datetime,
    until: datetime,
    settings: Settings,
) -> WhatIf:
    """Simulate the runs with other workers and limits.

    Args:
        runs: those of the time, by when they were ready; one more than :data:`MOST_RUNS` says
            that there are more.
        setting: what is otherwise.
        limits: that count now.
        now: how many workers there are, by category.
        since: the begin of the time.
        until: its end.
        settings: of the queue.

    Raises:
        QueryTimeoutError: it takes longer than ``query_seconds``.
    """
    complete = len(runs) <= MOST_RUNS
    runs = runs[:MOST_RUNS]
    if not complete and runs:
        until = since + timedelta(seconds=runs[-1].ready)
    workers = _workers(runs, setting, now)
    plain = _limits(limits, setting, set(workers))
    started = Replay(runs, workers, plain, settings, settings.query_seconds).run() if runs else []
    said = {limit.category: limit.describe() for limit in plain if limit.whole}
    categories = [
        _compared(category, runs, started, count, said.get(category, "nothing"))
        for category, count in sorted(workers.items())
    ]
    return WhatIf(
        since=since,
        until=until,
        complete=complete,
        categories=tuple(categories),
        approximates=_approximates(limits, workers, now, setting),
    )


def _approximates(
    limits: Sequence[Limit], workers: Mapping[str, int], now: Mapping[str, int], setting: Setting
) -> tuple[str, ...]:
    found = list(_ALWAYS)
    if any(one.key or one.fair_by or one.backlog for one in limits):
        found.append(_KEYED)
    if guessed := sorted(set(workers) - set(now) - set(setting.workers)):
        found.append(
            f"No workers run now for {', '.join(guessed)}: as many are taken as ran tasks there at "
            "the same time then."
        )
    return tuple(found)


def _workers(runs: Sequence[Run], setting: Setting, now: Mapping[str, int]) -> dict[str, int]:
    categories = sorted({run.category for run in runs})
    return {
        one: setting.workers.get(one) or now.get(one) or _at_once(runs, one) for one in categories
    }


def _at_once(runs: Sequence[Run], category: str) -> int:
    """Return how many of a category ran at the same time, at most."""
    own = [run for run in runs if run.category == category]
    return max(1, _peak([(run.started, run.started + run.seconds) for run in own]))


def _limits(limits: Sequence[Limit], setting: Setting, categories: set[str]) -> list[Limit]:
    """Return the limits that count in the simulation: those that need no arguments."""
    plain = {
        one.name: replace(one, fair_by=None, backlog=None, declared=None)
        for one in limits
        if one.key is None and one.category in categories
    }
    for category in (setting.concurrency.keys() | setting.rates.keys()) & categories:
        limit = plain.get(category, Limit(category=category))
        if category in setting.concurrency:
            limit = replace(limit, concurrency=setting.concurrency[category])
        if category in setting.rates:
            rate, per = setting.rates[category] or (None, None)
            limit = replace(limit, rate=rate, per=per)
        plain[category] = limit
    return [one for one in plain.values() if not one.empty]


def _compared(
    category: str, runs: Sequence[Run], started: Sequence[float], workers: int, limit: str
) -> WhatIfCategory:
    own = [
        (run.ready, run.started, would, run.seconds)
        for run, would in zip(runs, started, strict=True)
        if run.category == category
    ]
    return WhatIfCategory(
        category=category,
        tasks=len(own),
        workers=workers,
        limit=limit,
        was=_waits([(ready, was, seconds) for ready, was, _, seconds in own]),
        would=_waits([(ready, would, seconds) for ready, _, would, seconds in own]),
    )


def _waits(own: Sequence[tuple[float, float, float]]) -> Waits:
    waits = sorted(max(0.0, started - ready) for ready, started, _ in own)
    last = max(started + seconds for _, started, seconds in own) - min(own)[0]
    return Waits(
        p50=_quantile(waits, 0.5),
        p95=_quantile(waits, 0.95),
        most=waits[-1],
        backlog=_peak([(ready, started) for ready, started, _ in own]),
        per_hour=len(own) / max(last, 1e-9) * 3_600,
        seconds=last,
    )


def _quantile(ordered: Sequence[float], part: float) -> float:
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def _peak(spans: Sequence[tuple[float, float]]) -> int:
    """Return how many spans lie over one another, at most; one that is empty counts nothing."""
    moments = sorted(
        moment for begin, end in spans if end > begin for moment in ((begin, 1), (end, -1))
    )
    most = count = 0
    for _, step in moments:
        count += step
        most = max(most, count)
    return most
