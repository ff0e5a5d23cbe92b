"""A moment of a made-up queue, always the same, for pictures of it."""

from __future__ import annotations

from datetime import datetime, timedelta

from support.queues import NOON
from wopr.domain.errors import StorageError
from wopr.domain.reason import Reason, Severity
from wopr.domain.status import TaskStatus
from wopr.ports.answers import WorkerInfo
from wopr.ports.status import State, Status
from wopr.tui.view import CategoryRow, FailureRow, Quick, Slow, TaskRow

HOSTILE = "boom \x1b]0;owned\x07\x1b[2J\u202e [red]not markup[/red]\nsecond line"


def _id(number: int) -> str:
    return f"01a22c25-5cf1-7000-8000-{number:012d}"


def _ago(seconds: float) -> datetime:
    return NOON - timedelta(seconds=seconds)


def _reasons() -> tuple[Reason, ...]:
    return (
        Reason(
            kind="no workers",
            severity=Severity.HELD,
            text="Category 'reports' has no workers: 1,204 due tasks wait.",
            command="wopr worker module:queue -c reports:4",
            tasks=1_204,
        ),
        Reason(
            kind="paused",
            severity=Severity.HELD,
            text="Category 'imports' is paused by ada: until the new schema is out.",
            command="wopr resume imports",
        ),
    )


def _categories() -> tuple[CategoryRow, ...]:
    rows = (
        ("imports", 12, 12, 0, 8_100.0, 0, 0, 2, True),
        ("mail", 340, 40, 8, 3.4, 1_250, 3, 8, False),
        ("reports", 1_204, 1_204, 0, 93_600.0, 0, 0, 0, False),
    )
    names = ("name", "waiting", "due", "running", "oldest", "done", "failed", "workers", "paused")
    return tuple(CategoryRow(**dict(zip(names, row, strict=True))) for row in rows)


def _running() -> tuple[TaskRow, ...]:
    return tuple(
        TaskRow(
            id=_id(number),
            name="send_mail",
            category="mail",
            status=TaskStatus.STARTED,
            attempt=1,
            created_at=_ago(number * 100),
            started_at=_ago(number * 7),
            progress=number * 12.5,
            message=HOSTILE if number == 8 else f"{number} of 8 letters",
        )
        for number in range(8, 0, -1)
    )


def quick() -> Quick:
    """Return what is asked every second."""
    workers = [
        WorkerInfo(
            name=f"host-7-mail-{number}",
            category="mail",
            task_id=_id(number),
            task_name="send_mail",
            attempt=1,
            since=_ago(number * 7),
            heartbeat_at=NOON,
        )
        for number in range(1, 9)
    ]
    workers.append(WorkerInfo(name="host-7-imports-1", category="imports", heartbeat_at=NOON))
    failed = TaskRow(
        id=_id(99),
        name="build_report",
        category="reports",
        status=TaskStatus.FAILED,
        attempt=3,
        created_at=_ago(5_000),
        error=f"ValueError: {HOSTILE}",
    )
    return Quick(
        moment=NOON,
        status=Status(
            state=State.HELD,
            text="Work flows in part: 10 workers, 8 tasks run, 1,556 tasks wait, 1,256 are due.",
            reasons=_reasons(),
            database="/srv/shop/tasks.duckdb",
            moment=NOON,
            owner=4711,
        ),
        categories=_categories(),
        running=_running(),
        workers=tuple(workers),
        tasks=(*_running(), failed),
    )


def slow() -> Slow:
    """Return what is asked now and then."""
    text = "month 13 is not between 1 and 12"
    return Slow(
        failures=(
            FailureRow(
                name="build_report",
                error_type="ValueError",
                fingerprint="ValueError: month <n> is not between <n> and <n>",
                count=17,
                since=_ago(3_000),
                sample=_id(99),
                error=f"ValueError: {text}",
            ),
        ),
        reasons=(
            Reason(
                kind="failing",
                severity=Severity.WARNING,
                text="'build_report' fails as it did not in the 7 days before.",
                command="wopr tasks list -n build_report -s failed",
            ),
        ),
    )


class Reads:
    """Answers always the same, or not at all any more."""

    def __init__(self) -> None:
        """Answer."""
        self.trouble = ""

    async def quick(self, wanted: str) -> Quick:
        """Return the moment."""
        if self.trouble:
            raise StorageError(self.trouble)
        return quick()

    async def slow(self) -> Slow:
        """Return what was before it."""
        return slow()
