"""What the demo proves, and from which rows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wopr.domain.errors import WoprError
from wopr.domain.spoken import counted
from wopr.queue.queue import TaskQueue

PATHS = """
select args ->> '$[0]' as path, count(*) as tasks
from tasks where name = ? and list_contains(?, status) group by path
"""

LIVE = "select count(*) from tasks where status in ('pending', 'started', 'retry')"

STARTED_AFTER_REPORT = """
select count(*) from task_times
where name = 'scan' and first_started_at > (
    select first_started_at from task_times where name = 'report'
)
"""

INTERRUPTED = """
select count(*) as attempts, count(*) filter (status in ('success', 'failed')) as finished
from transitions join tasks on tasks.id = transitions.task_id
where transitions.reason in ('worker lost', 'crash loop')
"""

RETRIES = "select count(*) from transitions where from_status = 'started' and to_status = 'retry'"

CATEGORIES = """
select
    category,
    count(*) as tasks,
    sum(attempts) as attempts,
    count(*) filter (status = 'success') as succeeded,
    count(*) filter (status = 'failed') as failed,
    quantile_cont(wait_seconds, 0.5) as wait_p50,
    quantile_cont(wait_seconds, 0.95) as wait_p95,
    quantile_cont(run_seconds, 0.95) as run_p95,
    sum(run_seconds) as run_seconds
from task_times group by category order by category desc
"""

FAILURES = """
select tasks.name, tasks.error_type, tasks.error, tasks.args ->> '$[0]' as path
from tasks where status = 'failed' order by seq
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to be true."""

    name: str
    passed: bool
    detail: str


@dataclass(slots=True)
class Outcome:
    """What came out of a run of the demo."""

    files: int
    killed: bool
    seconds: float
    checks: list[Check] = field(default_factory=list)
    categories: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    report: Any = None
    tasks_per_second: float = 0.0
    run_seconds: float = 0.0
    """How long the attempts took together; several ran at once."""
    queue_tasks_per_second: float = 0.0
    """Of tasks that do nothing, afterwards."""
    retries: int = 0
    interrupted: int = 0

    @property
    def proven(self) -> bool:
        """Whether everything that has to be true is."""
        return all(item.passed for item in self.checks)


def prove(database: Path, files: Sequence[str], *, killed: bool, seconds: float) -> Outcome:
    """Ask the database whether every file was done, then check the database itself."""
    from wopr.storage.duckdb.doctor import check

    outcome = Outcome(len(files), killed, seconds)
    try:
        asyncio.run(_ask(database, set(files), outcome))
        found = check(database)
    except WoprError as error:
        outcome.checks.append(Check("the database can be read", passed=False, detail=str(error)))
        return outcome
    outcome.checks.append(
        Check(
            "doctor: every task is what its history says",
            found.clean,
            f"{counted(found.tasks, 'task')}, {counted(found.transitions, 'transition')}"
            + "".join(f"; {problem}" for problem in found.problems[:3]),
        )
    )
    return outcome


async def _ask(database: Path, files: set[str], outcome: Outcome) -> None:
    async with TaskQueue(enabled=True, database=database) as queue:
        await _check_files(queue, files, outcome)
        await _check_order(queue, outcome)
        outcome.categories = list(await queue.sql(CATEGORIES))
        outcome.failures = list(await queue.sql(FAILURES))
        outcome.retries = int((await queue.sql(RETRIES)).scalar())
        tasks = sum(int(row["tasks"]) for row in outcome.categories)
        outcome.run_seconds = sum(float(row["run_seconds"] or 0) for row in outcome.categories)
        outcome.tasks_per_second = tasks / outcome.seconds if outcome.seconds else 0.0


async def _check_files(queue: TaskQueue, files: set[str], outcome: Outcome) -> None:
    scanned = await _paths(queue, "scan", "success")
    parsed = await _paths(queue, "parse", "success", "failed")
    left = int((await queue.sql(LIVE)).scalar())
    outcome.checks += [
        Check(
            "every file was scanned, once",
            set(scanned) == files and set(scanned.values()) <= {1},
            f"{len(scanned)} of {len(files)}",
        ),
        Check(
            "every file was parsed, or is known not to parse, once",
            set(parsed) == files and set(parsed.values()) <= {1},
            f"{len(parsed)} of {len(files)}",
        ),
        Check("nothing is left over", left == 0, counted(left, "live task")),
    ]


async def _check_order(queue: TaskQueue, outcome: Outcome) -> None:
    [lost] = await queue.sql(INTERRUPTED)
    outcome.interrupted = int(lost["attempts"])
    if outcome.killed:
        outcome.checks.append(
            Check(
                "what the kill interrupted was run again",
                lost["attempts"] == lost["finished"],
                f"{lost['finished']} of {counted(lost['attempts'], 'task')}",
            )
        )
    reports = await queue.get_tasks(name="report", status="success")
    outcome.report = reports[0].result if reports else None
    after = int((await queue.sql(STARTED_AFTER_REPORT)).scalar())
    outcome.checks.append(
        Check(
            "the LOW report, enqueued first, started last",
            len(reports) == 1 and after == 0,
            f"{len(reports)} report, {after} scans started after it",
        )
    )


async def _paths(queue: TaskQueue, name: str, *statuses: str) -> dict[str, int]:
    """Return how many tasks of this name ended in these statuses, by path."""
    return {row["path"]: row["tasks"] for row in await queue.sql(PATHS, name, list(statuses))}
