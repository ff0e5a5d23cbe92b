"""Overview: why nothing runs, then what flows beside what is usual."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.routing import BaseRoute

from wopr.core.past import Past
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.ports.asof import PastStatus
from wopr.web.pages.acts import CAN_BE_UNDONE, acts_of
from wopr.web.pages.asking import Ask
from wopr.web.pages.cures import cure, mark, sentence, telling
from wopr.web.pages.failures import causes_of
from wopr.web.pages.flowing import SPANS, Ended, compared, series
from wopr.web.pages.showing import Page
from wopr.web.pages.travel import moment_of, past_of, until
from wopr.web.pages.workloads import Workload, backlog_then, workers_of, workloads

STATUS_SECONDS = 5.0
"""So old a status may be that is shown,"""
SLOW_SECONDS = 15.0
"""and what looks at hours or a week."""
CHART_SECONDS = {"1h": 5.0, "24h": 15.0, "7d": 60.0, "8w": 120.0}
"""So old charts of each span may be: of longer ones a step is longer, too."""
MOST_REASONS = 12
MOST_CATEGORIES = 12
MOST_CAUSES = 5
MOST_ACTS = 5


def span_of(ask: Ask) -> str:
    """Return over which span the charts go.

    Raises:
        InvalidCallError: there is no such one.
    """
    span = ask.query.get("span") or "1h"
    if span not in SPANS:
        raise InvalidCallError(f"span must be one of {', '.join(SPANS)}, not {shown(span)}.")
    return span


async def _values(ask: Ask) -> dict[str, Any]:
    span, category = span_of(ask), ask.query.get("category") or None
    past = past_of(ask)
    if past is not None:
        return await _then(ask, past, span, category)
    status = await ask.recent.get("status", STATUS_SECONDS, ask.queue.status)
    told = {
        "title": "Overview",
        "status": status,
        "reasons": [(one, mark(one), sentence(one), cure(one)) for one in telling(status.reasons)],
        "most": MOST_REASONS,
        "span": span,
        "spans": SPANS,
        "category": category,
    }
    if status.owner is None:  # the file can't be asked, which is the first reason
        return {**told, "flows": False}
    flowing = await _flowing(ask, span, category)
    return {**told, "flows": True, **_told(flowing, category, status.waiting)}


async def _then(ask: Ask, past: Past, span: str, category: str | None) -> dict[str, Any]:
    """Return the page as of a moment: why something did not run then, nobody can tell now."""

    async def found() -> PastStatus:
        backlog, workers = await asyncio.gather(backlog_then(ask, past), workers_of(ask))
        return await past.status(backlog=backlog, workers=workers)

    status, flowing = await asyncio.gather(
        ask.recent.get(("status", past.moment), SLOW_SECONDS, found),
        _flowing(ask, span, category),
    )
    return {
        "title": "Overview",
        "status": status,
        "reasons": (),
        "most": MOST_REASONS,
        "span": span,
        "spans": SPANS,
        "category": category,
        "flows": True,
        **_told(flowing, category, status.waiting),
    }


async def _flowing(ask: Ask, span: str, category: str | None) -> dict[str, Any]:
    moment, now = moment_of(ask), until(ask)
    loads, causes, acts, (recent, usual), charts = await asyncio.gather(
        workloads(ask),
        causes_of(ask, "24h"),
        acts_of(ask, None),
        ask.recent.get(
            ("compared", category, moment),
            SLOW_SECONDS,
            lambda: compared(ask.queue, category, until(ask)),
        ),
        ask.recent.get(
            ("series", span, category, moment),
            CHART_SECONDS[span],
            lambda: series(ask.queue, span, category, now),
        ),
    )
    return {
        "every": loads,
        "loads": sorted(loads, key=lambda one: (-one.due, -one.ended, one.name))[:MOST_CATEGORIES],
        "all_loads": len(loads),
        "causes": causes.causes[:MOST_CAUSES],
        "acts": acts[:MOST_ACTS],
        "undone": {act.undoes for act in acts if act.undoes is not None},
        "can_be_undone": CAN_BE_UNDONE,
        "recent": recent,
        "usual": usual,
        "points": charts.steps,
        "notes": charts.notes,
    }


def _told(flowing: dict[str, Any], category: str | None, total: int) -> dict[str, Any]:
    """Return it with how much waits, for how long, and for how long there is work."""
    loads = _of(flowing["every"], category)
    waiting = total if category is None else sum(one.waiting for one in loads)
    return {
        **flowing,
        "waiting": waiting,
        "oldest": max((one.oldest for one in loads), default=0.0),
        "minutes_left": minutes_left(waiting, flowing["recent"]),
    }


def _of(loads: list[Workload], category: str | None) -> list[Workload]:
    return [one for one in loads if category in (None, one.name)]


def minutes_left(waiting: int, recent: Ended) -> float | None:
    """Return for how many minutes there is work, at the rate of the last hour; if it is known."""
    return waiting / recent.rate if waiting and recent.rate else None


PAGE = Page(
    here="Overview", path="/", template="overview.html", values=_values, words=("span", "category")
)


def routes() -> list[BaseRoute]:
    """Return the routes of the page."""
    return PAGE.routes()
