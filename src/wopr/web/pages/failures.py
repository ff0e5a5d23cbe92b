"""Failures: what fails since when, put together by cause; and one cause with its traceback."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from starlette.routing import BaseRoute

from wopr.domain import selection
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.selection import LONGEST_ERROR
from wopr.insights import pagequeries
from wopr.web.pages.asking import Ask
from wopr.web.pages.buckets import series_of
from wopr.web.pages.showing import Page
from wopr.web.pages.travel import moment_of, time_of, until

MOST_GROUPS = 100
BUCKETS = 48
SPANS = {
    "1h": ("the last hour", timedelta(hours=1), 5.0),
    "24h": ("the last 24 hours", timedelta(days=1), 10.0),
    "7d": ("the last 7 days", timedelta(days=7), 60.0),
    "30d": ("the last 30 days", timedelta(days=30), 120.0),
}
"""The words of each, its length, and how many seconds old an answer may be. The keys are also words
of a selection: tasks that were enqueued since then."""
USUAL_SPAN = "24h"


@dataclass(frozen=True, slots=True)
class Cause:
    """Failures of one kind."""

    error_type: str | None
    fingerprint: str
    names: tuple[str, ...]
    """The first few of the tasks that fail so."""
    other_names: int
    failures: int
    final: int
    tasks: int
    first_seen: datetime
    last_seen: datetime
    sample: str
    """The task that failed so last."""
    error: str
    series: list[float]
    """How many there were in each stretch of the span."""


@dataclass(frozen=True, slots=True)
class Causes:
    """What failed in a span, put together."""

    causes: tuple[Cause, ...]
    """The most frequent first."""
    since: datetime | None = None
    """Only the newest failures, from then on, were looked at; ``None``: all of the span."""


def span_of(ask: Ask) -> str:
    """Return which span a page is about.

    Raises:
        InvalidCallError: there is no such one.
    """
    span = ask.query.get("span") or USUAL_SPAN
    if span not in SPANS:
        raise InvalidCallError(f"span must be one of {', '.join(SPANS)}, not {shown(span)}.")
    return span


async def causes_of(ask: Ask, span: str) -> Causes:
    """Return what failed in a span."""

    async def found() -> Causes:
        length, end = SPANS[span][1], until(ask)
        width = length.total_seconds() / BUCKETS
        params = end - length, width, MOST_GROUPS, end
        rows = list(await ask.queue.sql(pagequeries.FAILURE_GROUPS, *params))
        cut = bool(rows) and rows[0]["looked_at"] >= selection.MOST_FAILURES
        return Causes(tuple(map(_cause, rows)), rows[0]["looked_since"] if cut else None)

    return await ask.recent.get(("failures", span, moment_of(ask)), SPANS[span][2], found)


def _cause(row: dict[str, Any]) -> Cause:
    return Cause(
        row["error_type"],
        row["fingerprint"],
        tuple(row["names"]),
        row["name_count"] - len(row["names"]),
        row["failures"],
        row["final_failures"],
        row["tasks"],
        row["first_seen"],
        row["last_seen"],
        row["sample_task_id"],
        row["sample_error"],
        series_of(row["buckets"], BUCKETS),
    )


async def _list(ask: Ask) -> dict[str, Any]:
    span = span_of(ask)
    found = await causes_of(ask, span)
    causes = found.causes
    return {
        "title": "Failures",
        "span": span,
        "spans": SPANS,
        "causes": causes,
        "looked_since": found.since,
        "most_failures": selection.MOST_FAILURES,
        "full": len(causes) == MOST_GROUPS,
        "failures": sum(cause.failures for cause in causes),
    }


async def _one(ask: Ask) -> dict[str, Any]:
    span = span_of(ask)
    error = ask.query.get("error") or ""
    if not 0 < len(error) <= LONGEST_ERROR:
        raise InvalidCallError("The URL has to say which failure: error=, as on the page before.")
    found = await causes_of(ask, span)
    cause = next((one for one in found.causes if one.fingerprint == error), None)
    selected = ask.queue.tasks.where(error=error, since=SPANS[span][1])
    preview = None
    if not ask.past:
        preview = await ask.recent.get(
            ("retry", error, span), SPANS[span][2], lambda: selected.retry(dry_run=True)
        )
    history = [] if cause is None else await ask.queue.get_history(cause.sample)
    end = time_of(ask)
    failed = [entry for entry in history if entry.traceback and entry.occurred_at <= end]
    return {
        "title": (cause and cause.error_type) or "Failure",
        "span": span,
        "spans": SPANS,
        "error": error,
        "looked_since": found.since,
        "most_failures": selection.MOST_FAILURES,
        "cause": cause,
        "preview": preview,
        "entry": failed[-1] if failed else None,
    }


LIST = Page(
    here="Failures", path="/failures", template="failures.html", values=_list, words=("span",)
)
ONE = Page(
    here="Failures",
    path="/failures/one",
    template="failure.html",
    values=_one,
    words=("error", "span"),
)


def routes() -> list[BaseRoute]:
    """Return the routes of both pages."""
    return [*LIST.routes(), *ONE.routes()]
