"""Ask a queue what the dashboard in a terminal shows: cheap questions often, dear ones seldom."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from wopr.core.status import status_of
from wopr.domain.clock import Clock, naive_now
from wopr.domain.controls import Pause
from wopr.domain.errors import StorageError, WoprError
from wopr.domain.masking import mask
from wopr.domain.status import TaskStatus
from wopr.domain.terminal import clean
from wopr.insights import failurequeries, queries
from wopr.ports.answers import WorkerInfo
from wopr.ports.status import Status
from wopr.queue.face import inside
from wopr.queue.queue import TaskQueue
from wopr.tui.view import LONGEST_CELL, CategoryRow, FailureRow, Quick, Slow, TaskRow

T = TypeVar("T")

PATIENCE = 10.0
"""So many seconds one round of questions may take; then what is shown is told to be old."""
RATE_SECONDS = 60
FAILURES_OF = timedelta(hours=1)
MOST_ROWS = 200
"""Rows of a panel."""
MOST_FAILURES = 50


class Reads(Protocol):
    """What the dashboard needs to be told."""

    async def quick(self, wanted: str) -> Quick:
        """Return what changes every second; of the tasks those that hold the wanted text."""
        ...

    async def slow(self) -> Slow:
        """Return what is looked up in the past."""
        ...


class Reader:
    """Asks one queue.

    Args:
        queue: beside its owner, or on a file that nobody has open.
        clock: tells of when an answer is.

    Its questions raise :class:`StorageError` with a line that says why there is no answer.
    """

    def __init__(self, queue: TaskQueue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock

    async def quick(self, wanted: str) -> Quick:
        """Return what changes every second."""
        return await _bounded(self._quick(wanted))

    async def slow(self) -> Slow:
        """Return what failed in the last hour, and the reasons that are found in the past."""
        return await _bounded(self._slow())

    async def _quick(self, wanted: str) -> Quick:
        queue = self._queue
        status = _usable(await status_of(inside(queue), brief=True))
        now = naive_now(self._clock)
        workers = await queue.worker_info()
        pauses = await queue.pauses()
        live = await queue.sql(queries.LIVE_BY_CATEGORY, now)
        since = now - timedelta(seconds=RATE_SECONDS)
        ended = {row["category"]: row for row in await queue.sql(queries.ENDED_SINCE, since)}
        running = await queue.sql(queries.RUNNING, MOST_ROWS)
        status_wanted, text = _wanted(wanted)
        holding = await queue.sql(queries.TASKS_HOLDING, status_wanted, text, MOST_ROWS)
        return Quick(
            moment=now.replace(tzinfo=UTC),
            status=status,
            categories=_categories(live.rows, ended, workers, pauses),
            running=tuple(map(_task, running)),
            workers=tuple(workers),
            tasks=tuple(map(_task, holding)),
            pauses=tuple(pauses),
            acts=inside(queue).access.local is None,
        )

    async def _slow(self) -> Slow:
        queue = self._queue
        whole = _usable(await queue.status())
        brief = await status_of(inside(queue), brief=True)
        known = {one.key for one in brief.reasons}
        since = naive_now(self._clock) - FAILURES_OF
        failing = await queue.sql(failurequeries.FAILING, since, since, MOST_FAILURES)
        return Slow(
            failures=tuple(map(_failure, failing.rows)),
            reasons=tuple(one for one in whole.reasons if one.key not in known),
        )


async def _bounded(asking: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(PATIENCE):
            return await asking
    except TimeoutError:
        raise StorageError(f"No answer within {PATIENCE:g} s.") from None
    except (WoprError, OSError) as error:
        raise StorageError(_line(str(error) or type(error).__name__)) from error


def _usable(status: Status) -> Status:
    if status.owner is None:
        raise StorageError(status.reasons[0].text if status.reasons else status.text)
    return status


def _wanted(text: str) -> tuple[str, str]:
    """Return the status that a text names, and the rest of it, for the question."""
    words = text.casefold().split()
    statuses = [one for one in words if one in {status.value for status in TaskStatus}]
    rest = " ".join(one for one in words if one not in statuses)
    return (statuses[0] if statuses else ""), rest


def _categories(
    live: Iterable[tuple[Any, ...]],
    ended: Mapping[str, Mapping[str, Any]],
    workers: Iterable[WorkerInfo],
    pauses: Iterable[Pause],
) -> tuple[CategoryRow, ...]:
    """Return a row for each category in which something waits, runs, works or has ended."""
    counts = {name: numbers for name, *numbers in live}
    slots = Counter(one.category for one in workers)
    paused = {one.category for one in pauses}
    names = {*counts, *ended, *slots, *(one for one in paused if one is not None)}
    rows = []
    for name in sorted(names)[:MOST_ROWS]:
        waiting, due, running, oldest = counts.get(name, (0, 0, 0, 0.0))
        came = ended.get(name, {"done": 0, "failed": 0})
        rows.append(
            CategoryRow(
                name=name,
                waiting=waiting,
                due=due,
                running=running,
                oldest=oldest,
                done=came["done"],
                failed=came["failed"],
                workers=slots[name],
                paused=name in paused,
            )
        )
    return tuple(rows)


def _task(row: Mapping[str, Any]) -> TaskRow:
    return TaskRow(
        id=row["id"],
        name=row["name"],
        category=row["category"],
        status=TaskStatus(row["status"]),
        attempt=row["attempt"],
        created_at=row["created_at"].replace(tzinfo=UTC),
        started_at=_aware(row["started_at"]),
        progress=row["progress"] or 0.0,
        message=_line(row.get("progress_message") or ""),
        error=_line(row.get("error") or ""),
    )


def _failure(row: tuple[Any, ...]) -> FailureRow:
    name, error_type, fingerprint, count, _, since, sample, error = row
    return FailureRow(
        name=name,
        error_type=error_type or "",
        fingerprint=fingerprint,
        count=count,
        since=since.replace(tzinfo=UTC),
        sample=sample,
        error=_line(error),
    )


def _aware(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


def _line(text: str) -> str:
    """Return a text of anybody's as one line that does a terminal no harm and tells no secret."""
    return clean(mask(text))[:LONGEST_CELL]
