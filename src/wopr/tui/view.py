"""What the dashboard in a terminal shows at one moment, and how each row of it reads. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from wopr.domain.controls import Pause
from wopr.domain.reason import Reason, Severity
from wopr.domain.spoken import age, local
from wopr.domain.status import TaskStatus
from wopr.ports.answers import WorkerInfo
from wopr.ports.status import Status

LONGEST_CELL = 200
"""Characters of a cell; the details of its row have more."""

LONGEST_MESSAGE = 30
"""Of what a running task says, so that there is room for what stands behind it."""


class Subject(StrEnum):
    """What a panel is about; its title, too."""

    CATEGORIES = "Categories"
    RUNNING = "Running"
    FAILURES = "Failures"
    WORKERS = "Workers"
    TASKS = "Tasks"


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryRow:
    """One category: what waits and runs in it, and what came of it in the last minute."""

    name: str
    waiting: int
    due: int
    running: int
    oldest: float
    """Seconds for which the oldest due task has waited."""
    done: int
    failed: int
    workers: int
    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """One task. Times are aware."""

    id: str
    name: str
    category: str
    status: TaskStatus
    attempt: int
    created_at: datetime
    started_at: datetime | None = None
    progress: float = 0.0
    message: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRow:
    """Failures of one name that say the same but for numbers."""

    name: str
    error_type: str
    fingerprint: str
    count: int
    since: datetime
    sample: str
    """The id of the task that failed so most recently."""
    error: str


Row = CategoryRow | TaskRow | FailureRow | WorkerInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """What is asked every second."""

    moment: datetime
    status: Status
    categories: tuple[CategoryRow, ...] = ()
    running: tuple[TaskRow, ...] = ()
    workers: tuple[WorkerInfo, ...] = ()
    tasks: tuple[TaskRow, ...] = ()
    pauses: tuple[Pause, ...] = ()
    acts: bool = True
    """Whether a running owner is there to carry acts out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """What is asked now and then, because it looks at the past."""

    failures: tuple[FailureRow, ...] = ()
    reasons: tuple[Reason, ...] = field(default=())
    """Those that a brief look at the status does not find."""


_ORDER = list(Severity)


def all_reasons(quick: Quick, slow: Slow) -> tuple[Reason, ...]:
    """Return why something does not run, the most harmful first, each reason once."""
    there = {one.key for one in quick.status.reasons}
    found = [*quick.status.reasons, *(one for one in slow.reasons if one.key not in there)]
    return tuple(sorted(found, key=lambda one: _ORDER.index(one.severity)))


def rows_of(quick: Quick, slow: Slow, subject: Subject, wanted: str) -> Sequence[Row]:
    """Return the rows of a panel whose name, category or other words hold the wanted text."""
    every: dict[Subject, Sequence[Row]] = {
        Subject.CATEGORIES: quick.categories,
        Subject.RUNNING: quick.running,
        Subject.FAILURES: slow.failures,
        Subject.WORKERS: quick.workers,
        Subject.TASKS: quick.tasks,
    }
    if subject is Subject.TASKS:  # the database has looked for it, in all tasks there are
        return every[subject]
    small = wanted.strip().casefold()
    return [one for one in every[subject] if small in _words(one).casefold()]


def _words(row: Row) -> str:
    match row:
        case CategoryRow():
            return row.name
        case TaskRow():
            return f"{row.id} {row.name} {row.category} {row.status.value}"
        case FailureRow():
            return f"{row.name} {row.error_type} {row.error}"
        case _:
            return f"{row.name} {row.category} {row.task_name or 'free'}"


def key_of(row: Row) -> str:
    """Return what tells a row from all others of its panel, for as long as it is there."""
    match row:
        case TaskRow():
            return row.id
        case FailureRow():
            return f"{row.name} {row.error_type} {row.fingerprint}"
        case _:
            return row.name


COLUMNS: dict[Subject, tuple[str, ...]] = {
    Subject.CATEGORIES: (
        *("category", "wait", "due", "run", "workers", "ok/min", "fail/min", "oldest"),
    ),
    Subject.RUNNING: ("task", "for", "progress", "says", "attempt", "category", "id"),
    Subject.FAILURES: ("task", "times", "first", "error"),
    Subject.WORKERS: ("worker", "category", "runs", "for", "attempt"),
    Subject.TASKS: ("task", "status", "enqueued", "attempt", "category", "id", "error"),
}
"""Of each panel; those that a narrow terminal has to show come first."""

EMPTY: dict[Subject, str] = {
    Subject.CATEGORIES: "No task waits or runs.",
    Subject.RUNNING: "Nothing runs.",
    Subject.FAILURES: "Nothing has failed in the last hour.",
    Subject.WORKERS: "There are no workers: wopr worker module:queue",
    Subject.TASKS: "There are no such tasks.",
}


def cells(subject: Subject, row: Row, now: datetime) -> tuple[str | int, ...]:
    """Return what a row reads like at a moment, a value for each column of its panel."""
    match subject, row:
        case _, CategoryRow():
            name = f"{row.name} (paused)" if row.paused else row.name
            numbers = row.waiting, row.due, row.running, row.workers, row.done, row.failed
            return name, *numbers, age(round(row.oldest)) if row.due else ""
        case _, FailureRow():
            return row.name, row.count, f"{_ago(row.since, now)} ago", row.error
        case Subject.RUNNING, TaskRow():
            progress = f"{_bar(row.progress)} {row.progress:3.0f} %" if row.progress else ""
            since = _ago(row.started_at, now)
            says = row.message[:LONGEST_MESSAGE]
            return row.name, since, progress, says, row.attempt, row.category, row.id
        case _, TaskRow():
            enqueued = f"{_ago(row.created_at, now)} ago"
            of_task = row.name, row.status.value, enqueued, row.attempt, row.category, row.id
            return *of_task, row.error
        case _, WorkerInfo():
            runs = row.task_name if row.task_name is not None else "free"
            return row.name, row.category, runs, _ago(row.since, now), row.attempt or ""
    raise AssertionError(f"no panel {subject} shows {type(row).__name__}")


def _ago(moment: datetime | None, now: datetime) -> str:
    return "" if moment is None else age(round(max((now - moment).total_seconds(), 0.0)))


def _bar(percent: float) -> str:
    full = min(max(round(percent / 10), 0), 10)
    return "█" * full + "░" * (10 - full)


def why(quick: Quick, slow: Slow) -> list[str]:
    """Return whether work flows, each reason why not, and what mends it; line by line."""
    lines = [quick.status.text, ""]
    for number, one in enumerate(all_reasons(quick, slow), 1):
        lines.append(f"{number}. {one.text}")
        lines += [f"   $ {one.command}"] if one.command else []
    return lines


def said_of_age(moment: datetime | None, now: datetime, trouble: str) -> str:
    """Say since when what is shown is old, and why; nothing was ever read if no moment is given."""
    if moment is None:
        return f"Nothing could be read yet: {trouble}"
    return f"OLD: this is how it was at {local(moment)}, {_ago(moment, now)} ago. {trouble}"
