"""Schedules: a calendar of what ran, was missed and comes; and one schedule with its plan."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from starlette.routing import BaseRoute

from wopr.core.scheduleinfo import ScheduleInfo
from wopr.domain.checks import check_label
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.masking import masked
from wopr.domain.spoken import local_mark
from wopr.insights import pagequeries
from wopr.web.pages.asking import Ask
from wopr.web.pages.buckets import naive
from wopr.web.pages.calendar import CELLS, TICK, Axis, Runs, axis_of, cells_of
from wopr.web.pages.showing import Page
from wopr.web.pages.travel import moment_of, past_of, time_of, until

PER_PAGE = 50
SECONDS = 5.0
SPANS = {
    "day": ("36 hours", timedelta(hours=36)),
    "week": ("9 days", timedelta(days=9)),
    "month": ("36 days", timedelta(days=36)),
}
"""Two thirds of each are past."""
NEXT = 10
LAST = 20


def span_of(ask: Ask) -> str:
    """Return which stretch of time the calendar shows.

    Raises:
        InvalidCallError: there is no such one.
    """
    span = ask.query.get("span") or "day"
    if span not in SPANS:
        raise InvalidCallError(f"span must be one of {', '.join(SPANS)}, not {shown(span)}.")
    return span


async def _list(ask: Ask) -> dict[str, Any]:
    span = span_of(ask)
    now = time_of(ask)
    axis = axis_of(now, SPANS[span][1])
    after = ask.query.get("after") or ""
    infos = [one for one in await ask.queue.schedules.list() if one.name > after]
    listed = infos[:PER_PAGE]
    ran = await ask.recent.get(
        ("schedule cells", axis, after, len(listed), moment_of(ask)),
        SECONDS,
        lambda: _ran(ask, listed, axis),
    )
    return {
        "title": "Schedules",
        "span": span,
        "spans": SPANS,
        "rows": [
            (
                one,
                cells_of(one, axis, ran.get(one.name, {}), now),
                next(iter(_next(one, now, 1)), None),
            )
            for one in listed
        ],
        "more": len(infos) > PER_PAGE,
        "axis": axis,
        "marks": _marks(axis),
        "present": round((now - axis.begin) / axis.width, 2),
        "cells": CELLS,
        "now": now,
    }


def _next(info: ScheduleInfo, now: datetime, count: int) -> list[datetime]:
    """Return the next planned times after a moment."""
    found: list[datetime] = []
    moment = now if info.start_at is None else max(now, info.start_at - TICK)
    while len(found) < count:
        after = info.trigger.next_after(moment)
        if after is None or (info.end_at is not None and after > info.end_at):
            break
        found.append(after)
        moment = after
    return found


async def _ran(ask: Ask, infos: list[ScheduleInfo], axis: Axis) -> dict[str, dict[int, Runs]]:
    """Return what ran in each stretch of time, by schedule."""
    rows = await ask.queue.sql(
        pagequeries.SCHEDULE_CELLS,
        naive(axis.begin),
        axis.width.total_seconds(),
        naive(axis.end),
        [one.name for one in infos],
        until(ask),
    )
    found: dict[str, dict[int, Runs]] = {}
    for row in rows:
        runs = Runs(row["runs"], row["failed"], row["live"], row["task_id"])
        found.setdefault(row["schedule"], {})[row["cell"]] = runs
    return found


def _marks(axis: Axis) -> list[tuple[float, str]]:
    """Return where days begin on the wall, or hours where there is one day, and their names."""
    days = axis.end - axis.begin > timedelta(days=2)
    step = timedelta(days=1) if days else timedelta(hours=6)
    there = axis.begin.astimezone().replace(minute=0, second=0, microsecond=0)
    there = there.replace(hour=0 if days else there.hour // 6 * 6)
    found = []
    while there < axis.end:
        at = (there - axis.begin) / axis.width
        if at >= 0:
            found.append((round(at, 2), local_mark(there, days=days)))
        there += step
    every = max(1, -(-len(found) // 10))
    return found[::every]


async def _one(ask: Ask) -> dict[str, Any]:
    name = check_label(ask.query.get("name"), "the name of a schedule")
    info = await ask.queue.schedules.get(name)
    span = span_of(ask)
    now = time_of(ask)
    axis = axis_of(now, SPANS[span][1])
    ran = await _ran(ask, [info], axis)
    return {
        "title": name,
        "info": info,
        "next": _next(info, now, NEXT),
        "runs": await (past_of(ask) or ask.queue).get_tasks(schedule=name, limit=LAST),
        "args": masked(list(info.args)),
        "kwargs": masked(info.kwargs),
        "drawn": cells_of(info, axis, ran.get(name, {}), now),
        "span": span,
        "spans": SPANS,
        "axis": axis,
        "marks": _marks(axis),
        "present": round((now - axis.begin) / axis.width, 2),
        "cells": CELLS,
        "now": now,
    }


LIST = Page(
    here="Schedules",
    path="/schedules",
    template="schedules.html",
    values=_list,
    words=("span", "after"),
)
ONE = Page(
    here="Schedules", path="/schedules/one", template="schedule.html", values=_one, words=("name",)
)


def routes() -> list[BaseRoute]:
    """Return the routes of both pages."""
    return [*LIST.routes(), *ONE.routes()]
