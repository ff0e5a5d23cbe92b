"""Time travel: which moment a page is about, and the strip of the last week that leads there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from wopr.core.past import Past
from wopr.domain.clock import naive_now
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.insights import pagequeries
from wopr.queue.queue import inside
from wopr.web.guard.roles import Role
from wopr.web.pages.asking import Ask, ask_of
from wopr.web.pages.buckets import naive, now_of, series_of
from wopr.web.pages.rendering import page
from wopr.web.routing import route

WEEK = timedelta(days=7)
HOURS = 168
STRIP_SECONDS = 60.0
STEP = timedelta(minutes=10)
"""So far one step of the slider goes."""


def moment_of(ask: Ask) -> datetime | None:
    """Return the moment that a page is asked about, aware, in UTC; ``None`` is now.

    Raises:
        InvalidCallError: it is none, or has not come.
    """
    text = ask.query.get("at", "")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidCallError(
            f"at must be a moment like 2026-11-30T14:05 or 2026-11-30T14:05:00Z, not {shown(text)}."
        ) from None
    now = now_of(ask.queue)
    if moment > now:
        raise InvalidCallError(f"The moment {shown(text)} has not come; the queue has no future.")
    return moment


def time_of(ask: Ask) -> datetime:
    """Return the moment that a page is about: now, if it says none."""
    return moment_of(ask) or now_of(ask.queue)


def past_of(ask: Ask) -> Past | None:
    """Return the queue as of the moment that a page is asked about; ``None`` is now."""
    moment = moment_of(ask)
    return None if moment is None else ask.queue.as_of(moment)


def until(ask: Ask) -> datetime:
    """Return the end of what a page tells of, as it stands in the file."""
    return naive(time_of(ask))


async def strip(request: Request) -> Response:
    """Answer with the throughput of the last week, and a slider over it."""
    ask = ask_of(request)
    now = now_of(ask.queue)
    moment = moment_of(ask)
    ended, failed = await ask.recent.get("strip", STRIP_SECONDS, lambda: _week(ask))
    steps = WEEK // STEP
    ago = timedelta(0) if moment is None else now - moment
    return page(
        request,
        "strip.html",
        ask=ask,
        ended=ended,
        failed=failed,
        begin=now - WEEK,
        steps=steps,
        step=int(STEP.total_seconds()),
        at=max(0, steps - ago // STEP) if moment else steps,
        moment=moment,
        end=now,
    )


async def _week(ask: Ask) -> tuple[list[float], list[float]]:
    now = naive_now(inside(ask.queue).time)
    width = WEEK.total_seconds() / HOURS
    found: dict[bool, Any] = {}
    for failed, buckets in (await ask.queue.sql(pagequeries.WEEK, now - WEEK, width)).rows:
        found[bool(failed)] = buckets
    failures = series_of(found.get(True), HOURS)
    rest = series_of(found.get(False), HOURS)
    return [one + other for one, other in zip(rest, failures, strict=True)], failures


def routes() -> list[BaseRoute]:
    """Return the route of the strip."""
    return [route("/travel", strip, needs=Role.READ)]
