"""Task: all that is known of one, and what can be done with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.routing import BaseRoute

from wopr.domain.act import Act
from wopr.domain.logline import LogLine
from wopr.domain.masking import masked
from wopr.domain.status import TERMINAL, TaskStatus
from wopr.domain.task import UNLIMITED_RETRIES, TaskInfo
from wopr.insights.taskqueries import FLOW_ENDED, USUAL_RUN
from wopr.ports.answers import Explanation, HistoryEntry
from wopr.web.pages.asking import Ask
from wopr.web.pages.showing import Page
from wopr.web.pages.timeline import timeline
from wopr.web.pages.travel import past_of, time_of

LINES = 2_000
"""So many log lines are read,"""
SHOWN_LINES = 200
"""and the newest so many shown."""
MOVES = 200
MOST_ACTS = 10
USUAL_SECONDS = 60.0
MANY_TIMES = 3.0
"""A run that takes so many times as long as usual is worth a sentence."""


async def _values(ask: Ask) -> dict[str, Any]:
    past, now = past_of(ask), time_of(ask)
    reads = past or ask.queue
    info = await reads.require_task_info(ask.names["id"])
    history, lines, why, usual, flow = await asyncio.gather(
        reads.get_history(info.id),
        ask.queue.get_logs(info.id, LINES),
        _why(ask, info),
        ask.recent.get(("usual run", info.name), USUAL_SECONDS, lambda: _usual(ask, info.name)),
        _flow(ask, info),
    )
    logs = [line for line in lines if past is None or line.logged_at <= now]
    return {
        "title": info.name,
        "info": info,
        "calls": _called(info),
        "result": _result(info),
        "options": masked(info.options) if info.options else None,
        "history": history[-MOVES:],
        "moves": len(history),
        "attempts": _attempts(history),
        "time": timeline(history, now),
        "logs": logs[-SHOWN_LINES:],
        "log_count": _count(logs),
        "why": why,
        "slow": _slow(info, usual, now),
        "usual": usual,
        "flow": flow,
        "acts": await _acts(ask, history),
        "attempt_of": _of(info),
        "verbs": _verbs(info),
    }


async def _why(ask: Ask, info: TaskInfo) -> Explanation | None:
    """Return why a task stands where it stands; nobody can tell it of the past."""
    return None if ask.past else await ask.queue.explain(info.id)


def _called(info: TaskInfo) -> list[tuple[str, Any]]:
    """Return the arguments by position and name, without secrets."""
    given: Any = masked(list(info.args))
    named: Any = masked(info.kwargs)
    return [*((str(at), value) for at, value in enumerate(given)), *named.items()]


def _result(info: TaskInfo) -> Any:
    return masked(info.result) if info.status is TaskStatus.SUCCESS else None


def _of(info: TaskInfo) -> str:
    """Return which attempt it is, of how many."""
    if not info.attempt:
        return ""
    of = "" if info.max_retries == UNLIMITED_RETRIES else f" of {info.max_retries + 1}"
    return f"attempt {info.attempt}{of}"


def _verbs(info: TaskInfo) -> tuple[tuple[str, str, str], ...]:
    """Return what can be done with a task: the verb, its words, and its key."""
    if info.status is TaskStatus.FAILED:
        return (("retry", "Retry", "r"),)
    if info.status in TERMINAL:
        return (("run-again", "Run again", "r"),)
    return (("cancel", "Cancel", ""),)


def _count(logs: Sequence[LogLine]) -> str:
    return f"{len(logs):,}" + ("+" if len(logs) == LINES else "")


def _attempts(history: Sequence[HistoryEntry]) -> list[dict[str, Any]]:
    """Return the attempts, newest first: how each ended, how long it took, and its traceback."""
    found: dict[int, dict[str, Any]] = {}
    for one in history:
        if one.to_status is TaskStatus.STARTED:
            found[one.attempt] = {"number": one.attempt, "began": one.occurred_at,
                "worker": one.worker, "status": "started", "seconds": None, "error": None,
                "traceback": None, "reason": ""}  # fmt: skip
        elif one.from_status is TaskStatus.STARTED and one.attempt in found:
            attempt = found[one.attempt]
            failed = one.error is not None
            attempt["status"] = "failed" if failed else one.to_status.value
            attempt["seconds"] = (one.occurred_at - attempt["began"]).total_seconds()
            attempt.update(error=one.error, traceback=one.traceback, reason=one.reason)
    return sorted(found.values(), key=lambda one: -one["number"])[:MOVES]


async def _usual(ask: Ask, name: str) -> dict[str, Any] | None:
    """Return how long tasks of a name usually run, and how many of them fail."""
    rows = await ask.queue.sql(USUAL_RUN, name)
    return rows[0] if len(rows) and rows[0]["tasks"] else None


def _slow(info: TaskInfo, usual: dict[str, Any] | None, now: Any) -> float | None:
    """Return how many times as long as usual a run takes, if that is many times."""
    if usual is None or not usual["run_p95"]:
        return None
    running = info.status is TaskStatus.STARTED and info.started_at is not None
    seconds = (now - info.started_at).total_seconds() if running else info.elapsed_seconds
    times = seconds / usual["run_p95"]
    return times if times >= MANY_TIMES else None


async def _flow(ask: Ask, info: TaskInfo) -> dict[str, Any] | None:
    if info.flow_id is None:
        return None
    return (await ask.queue.sql(FLOW_ENDED, info.flow_id))[0]


async def _acts(ask: Ask, history: Sequence[HistoryEntry]) -> list[Act]:
    """Return what people did to a task, newest first."""
    numbers = sorted({one.act for one in history if one.act is not None}, reverse=True)
    found: list[Act] = []
    for number in numbers[:MOST_ACTS]:
        found += [one for one in await ask.queue.acts(1, before=number + 1) if one.number == number]
    return found


PAGE = Page(here="Tasks", path="/tasks/{id}", template="task.html", values=_values)


def routes() -> list[BaseRoute]:
    """Return the routes of the page."""
    return PAGE.routes()
