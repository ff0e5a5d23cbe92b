"""When a backlog will be done: ``queue.eta(…)``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from wopr.core.core import Core
from wopr.core.past import Past, selection_of
from wopr.core.series import Asked, series_of
from wopr.core.timethere import time_there
from wopr.domain.controls import Pause
from wopr.domain.eta import Eta, Work, altogether, estimate, usual
from wopr.domain.limits import Limit
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.spoken import aware
from wopr.insights import pastqueries, seriesqueries
from wopr.ports.answers import WorkerInfo
from wopr.ports.series import Point, Resolution
from wopr.ports.storage import QueryLimits

HOUR = timedelta(hours=1)
RECENT_MINUTES = 10
MOST_CATEGORIES = 1_000
_LEFT = (pastqueries.LEFT, pastqueries.LEFT_NARROWLY)


async def eta_of(core: Core, given: Mapping[str, Any]) -> Eta:
    """Return when the tasks of a selection will be done, by what is measured now.

    Raises:
        InvalidCallError: a value can't be what it has to be.
    """
    now = await time_there(core)
    which = selection_of(given, now)
    left = await Past(core, now).selected(which, _LEFT, None, MOST_CATEGORIES)
    if not left:
        return altogether((), aware(now))
    known = await _Known.read(core, now)
    parts = [estimate(known.work(*row), aware(now)) for row in left]
    return altogether(parts, aware(now))


class _Known:
    """What is measured, and what is set, of all categories."""

    def __init__(
        self,
        points: Mapping[str, Sequence[Point]],
        runs: Mapping[str, float],
        workers: Sequence[WorkerInfo],
        pauses: Sequence[Pause],
        limits: Sequence[Limit],
    ) -> None:
        self._points = points
        self._runs = runs
        self._workers = Counter(one.category for one in workers)
        self._pauses = pauses
        self._limits = {one.category: one for one in limits if one.whole}

    @classmethod
    async def read(cls, core: Core, now: datetime) -> _Known:
        asked = Asked(by=Resolution.MINUTE, since=now - HOUR, until=now, split="category")
        found = await series_of(core, asked, compare=False)
        limits = QueryLimits(core.settings.query_seconds, archive=core.settings.archive)
        span = (now - HOUR, now)
        answer = await core.ask(lambda backend: backend.sql(seriesqueries.RUNS, span, limits), None)
        nothing: list[Rule] = []
        nobody: list[WorkerInfo] = []
        pauses = await core.ask(lambda backend: backend.rules.all(RuleKind.PAUSE), nothing)
        set_ = await core.ask(lambda backend: backend.rules.all(RuleKind.LIMIT), nothing)
        workers = await core.ask(lambda backend: backend.workers(), nobody)
        return cls(
            {one.part: one.points for one in found.series if one.part is not None},
            {} if answer is None else {category: mean for category, _, mean in answer.rows},
            workers,
            [Pause.from_rule(one) for one in pauses],
            [Limit.from_json(one.value) for one in set_],
        )

    def work(
        self,
        category: str,
        left: int,
        running: int,
        blocked: int,
        last_due: datetime | None,
        ahead: int,
        names: Sequence[str] | None,
    ) -> Work:
        """Return what is known of the tasks that are left in a category."""
        points = self._points.get(category, ())
        recent = points[-RECENT_MINUTES:]
        limit = self._limits.get(category)
        rate = None if limit is None or limit.rate is None else limit.rate / (limit.per or 1.0)
        return Work(
            category=category,
            left=left,
            running=running,
            blocked=blocked,
            ahead=ahead,
            last_due=None if last_due is None else last_due.replace(tzinfo=UTC),
            workers=self._workers[category],
            at_once=None if limit is None else limit.concurrency,
            rate_limit=rate,
            paused=self._paused(category, names or ()),
            run_seconds=self._runs.get(category),
            done=sum(one.succeeded + one.failed for one in recent) / (60 * RECENT_MINUTES),
            arrivals=usual([one.arrivals for one in points]),
        )

    def _paused(self, category: str, names: Sequence[str]) -> str | None:
        """Return since when a category is paused, or one of the names, and why."""
        for pause in self._pauses:
            if pause.category == category or pause.task in names:
                return pause.told
        return None
