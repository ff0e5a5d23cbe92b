"""What would have been: read what was, and simulate it with other workers or limits."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from wopr.core import asking
from wopr.core.core import Core
from wopr.core.timethere import time_there
from wopr.domain.checks import check_count, check_label, check_moment, check_seconds
from wopr.domain.errors import InvalidCallError
from wopr.domain.limits import Limit, parse_rate
from wopr.domain.rule import RuleKind
from wopr.insights import whatifqueries
from wopr.ports.whatif import MOST_RUNS, Run, Setting, WhatIf

Rate = str | tuple[int, float | timedelta]
When = datetime | timedelta | float
MOST_WORKERS = 10_000


def setting(
    workers: Mapping[str, int] | None,
    limits: Mapping[str, int | None] | None,
    rates: Mapping[str, Rate | None] | None,
) -> Setting:
    """Return what is asked about.

    Raises:
        InvalidCallError: a value can't be what it has to be.
    """
    return Setting(
        workers={
            check_label(category, "category"): check_count(
                count, f"workers[{category!r}]", least=1, most=MOST_WORKERS
            )
            for category, count in (workers or {}).items()
        },
        concurrency={
            check_label(category, "category"): None
            if count is None
            else check_count(count, f"limits[{category!r}]", least=1)
            for category, count in (limits or {}).items()
        },
        rates={
            check_label(category, "category"): None if rate is None else parse_rate(rate)
            for category, rate in (rates or {}).items()
        },
    )


async def whatif(core: Core, what: Setting, since: When, until: When | None) -> WhatIf:
    """Say what would have been.

    Raises:
        InvalidCallError: the time ends before it begins.
        QueryError: this storage has no SQL.
        QueryTimeoutError: it takes too long.
        QueueDisabledError: the queue is switched off.
    """
    now = await time_there(core)
    begin = _moment(since, now, "since")
    end = now if until is None else min(now, _moment(until, now, "until"))
    if begin >= end:
        raise InvalidCallError(f"since={begin} UTC is not before until={end} UTC.")
    most = MOST_RUNS + 1
    answer = await asking.sql(core, whatifqueries.RUNS_SINCE, begin, end, most, rows=most)
    runs = [Run(*row) for row in answer.rows]
    backend = await core.existing()
    limits = [Limit.from_json(rule.value) for rule in await backend.rules.all(RuleKind.LIMIT)]
    here = Counter(one.category for one in await backend.workers())

    from wopr.simulation.whatif import whatif as compare  # loads what only this question needs

    times = begin.replace(tzinfo=UTC), end.replace(tzinfo=UTC)
    return await asyncio.to_thread(compare, runs, what, limits, here, *times, core.settings)


def _moment(when: When, now: datetime, what: str) -> datetime:
    """Return a moment as the tables have it: naive, UTC."""
    if isinstance(when, datetime):
        return check_moment(when, what)
    return now - timedelta(seconds=check_seconds(when, what, zero="allow"))
