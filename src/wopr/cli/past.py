"""``--at``: what commands that look tell of a moment that is over."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from wopr.cli import tables
from wopr.cli.declared import Option
from wopr.cli.errors import UsageError
from wopr.cli.output import say, table
from wopr.cli.selections import when
from wopr.core.past import Past
from wopr.domain.clock import SystemClock
from wopr.domain.spoken import age, counted, local
from wopr.domain.typed import WHEN
from wopr.ports.asof import CategoryBacklog, PastStatus
from wopr.queue.queue import TaskQueue

At = Annotated[
    str | None,
    Option("--at", metavar="WHEN", help=f"As it was then: {WHEN}."),
]


def past_of(queue: TaskQueue, at: str) -> Past:
    """Return the queue as it was at what ``--at`` says.

    Raises:
        UsageError: it says no time, or one that has not come.
    """
    moment, now = when(at, "--at"), SystemClock().now()
    if isinstance(moment, datetime) and moment > now:
        raise UsageError(
            f"--at {at} has not come: it is {local(now)}. What is to come: wopr eta, "
            "wopr schedules preview NAME."
        )
    return queue.as_of(moment)


def print_status(found: PastStatus) -> None:
    """Print how a queue stood."""
    say(found.text)
    print_backlog(found.backlog)
    for pause in found.pauses:
        say(f"{pause.name} was paused {pause.told}.")
    if found.gone_until is not None and found.gone_until >= found.moment:
        say(
            f"Tasks that ended until {local(found.gone_until)} were deleted or archived since; "
            "those that were deleted are not counted."
        )


def print_backlog(backlog: tuple[CategoryBacklog, ...]) -> None:
    """Print what waited and ran, by category."""
    rows = [
        (one.category, one.waiting, one.due, one.running, age(one.oldest_seconds))
        for one in backlog
    ]
    if rows:
        table(tables.PAST_BACKLOG, rows)


def print_counts(found: dict[str, Any]) -> None:
    """Print how many tasks there were."""
    total = counted(found["total"], "task")
    say(f"{total}, {found['queued']:,} waiting, {found['running']:,} running")
    if found["total"]:
        table(tables.BY_STATUS, sorted(found["by_status"].items()))
        table(tables.BY_CATEGORY, sorted(found["by_category"].items()))
