"""The questions of an assistant: what flows, what does not and why, and one task in full."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

from mcp.server.mcpserver import Context
from pydantic import Field

from wopr.assistants.asker import Asking, noted_as
from wopr.domain.act import Act
from wopr.domain.clock import naive_now
from wopr.domain.errors import InvalidCallError
from wopr.domain.reason import Reason
from wopr.domain.spoken import aware
from wopr.domain.task import TaskInfo
from wopr.insights import failurequeries, queries
from wopr.ports.answers import HistoryEntry
from wopr.queue.queue import TaskQueue, inside

MOST_LISTED = 100
MOST_LOGS = 200
MOST_ROWS = 200

Limit = Annotated[int, Field(ge=1, le=MOST_LISTED, description="At most so many.")]
TaskId = Annotated[str, Field(max_length=100, description="The whole id of a task.")]
Name = Annotated[str | None, Field(max_length=200, description="The name of tasks.")]
Category = Annotated[str | None, Field(max_length=200, description="A category of tasks.")]
Status = Annotated[
    str | None,
    Field(description="One of pending, started, retry, success, failed, cancelled."),
]


class Looking:
    """Answers questions about one queue."""

    def __init__(self, queue: TaskQueue, asking: Asking) -> None:
        self._queue = queue
        self._asking = asking

    async def status(self) -> Any:
        """Say whether work flows; if not, why, the most harmful reason first, and what mends it.

        Ask this first when something does not run.
        """
        found = await self._queue.status()
        return {
            "state": found.state.value,
            "text": found.text,
            "reasons": [_reason(one) for one in found.reasons],
            "as_of": found.moment.isoformat(),
            "waiting": found.waiting,
            "due": found.due,
            "running": found.running,
            "workers": found.workers,
        }

    async def stats(self) -> Any:
        """Count the tasks by status and by category; what waits since when; what is paused."""
        queue, now = self._queue, naive_now(inside(self._queue).time)
        live = await queue.sql(queries.LIVE_BY_CATEGORY, now)
        names = ("category", "waiting", "due", "running", "oldest_due_seconds")
        return {
            **await queue.get_task_stats(),
            "live": [dict(zip(names, row, strict=True)) for row in live.rows],
            "pauses": [asdict(one) for one in await queue.pauses()],
            "limits": [json.loads(one.to_json()) for one in await queue.limits()],
        }

    async def explain(
        self,
        task_id: Annotated[str | None, Field(max_length=100, description="Of a task.")] = None,
        category: Category = None,
        name: Name = None,
        flow: Annotated[str | None, Field(max_length=100, description="A flow's id.")] = None,
        schedule: Annotated[str | None, Field(max_length=200, description="Its name.")] = None,
    ) -> Any:
        """Say why a task stands where it stands; or the tasks of one of the others. Give one."""
        queue = self._queue
        groups = {"category": category, "name": name, "flow": flow, "schedule": schedule}
        given = {about: target for about, target in groups.items() if target is not None}
        if len(given) + (task_id is not None) != 1:
            raise InvalidCallError("Give one of task_id, category, name, flow and schedule.")
        if task_id is not None:
            return asdict(await queue.explain(task_id))
        found: Any = await queue.explain(**given)
        return {**asdict(found), "reasons": [_reason(one) for one in found.reasons]}

    async def list_tasks(
        self,
        status: Status = None,
        name: Name = None,
        category: Category = None,
        flow: Annotated[str | None, Field(max_length=100, description="A flow's id.")] = None,
        schedule: Annotated[str | None, Field(max_length=200, description="Its name.")] = None,
        limit: Limit = 20,
        cursor: Annotated[
            str | None, Field(max_length=100, description="The last id of the page before.")
        ] = None,
    ) -> Any:
        """List tasks, the newest first, without their arguments and results."""
        found = await self._queue.get_tasks(
            category, status, name, limit, cursor=cursor, flow_id=flow, schedule=schedule
        )
        more = found[-1].id if len(found) == limit else None
        return {"tasks": [_listed(info) for info in found], "next_cursor": more}

    async def show_task(self, task_id: TaskId) -> Any:
        """Show all that is known of a task: arguments, result, history, tracebacks, log lines."""
        queue = self._queue
        info = await queue.require_task_info(task_id)
        whole = {**asdict(info), "priority": info.priority.name, "status": info.status.value}
        moves = await queue.get_history(task_id)
        return {
            "task": whole,
            "history": [_move(one) for one in moves[-MOST_LISTED:]],
            "logs": [asdict(one) for one in await queue.get_logs(task_id, MOST_LOGS)],
        }

    async def failures(
        self,
        hours: Annotated[float, Field(gt=0, le=24 * 31, description="So far back.")] = 24.0,
        limit: Limit = 20,
    ) -> Any:
        """Group what failed by what it says, but for numbers: how often, since when, one of each.

        The fingerprint of a group selects its tasks in preview_act.
        """
        since = naive_now(inside(self._queue).time) - timedelta(hours=hours)
        found = await self._queue.sql(failurequeries.FAILING, since, since, limit)
        return {"failures": [_failure(row) for row in found.rows]}

    async def workers(self) -> Any:
        """List the workers of the process that has the database open, and what each runs."""
        return {"workers": [asdict(one) for one in await self._queue.worker_info()]}

    async def schedules(self) -> Any:
        """List the schedules: when each fires, when it fired last, and whether it does."""
        return {
            "schedules": [
                {
                    "name": one.name,
                    "task": one.task,
                    "fires": one.description,
                    "next": one.next_fire_at,
                    "last": one.last_fire_at,
                    "missed": one.missed,
                    "paused": one.paused,
                    "reason": one.reason,
                    "text": one.text,
                }
                for one in await self._queue.schedules.list()
            ]
        }

    async def acts(
        self,
        limit: Limit = 20,
        before: Annotated[
            int | None, Field(ge=0, description="Only acts with a lower number.")
        ] = None,
    ) -> Any:
        """List what operators did, the newest first: who, when, to what and why."""
        return {"acts": [_act(one) for one in await self._queue.acts(limit, before=before)]}

    async def sql(
        self,
        query: Annotated[str, Field(max_length=20_000, description="One SELECT, of DuckDB.")],
        context: Context[Any, Any],
    ) -> Any:
        """Ask the database one read-only question in SQL; 200 rows at most.

        Tables: tasks, transitions, results, schedules, rules, acts, task_logs, meta. Views:
        history, task_times, latency, backlog, dependencies, flows, schedule_runs, failures. Times
        are UTC. It runs apart, on a copy that is some seconds old; `describe tasks` lists columns.
        """
        with noted_as(self._asking.asks_sql(context)):
            await (await inside(self._queue).existing()).acts.asked(query)
        found = await self._queue.typed_sql(query, limit=MOST_ROWS)
        return {
            "rows": [_named(found.columns, row) for row in found.rows],
            "more_rows": found.truncated,
            "as_of": found.moment,
        }


def _named(columns: Sequence[str], row: Sequence[object]) -> dict[str, object]:
    """Return a row by the names of its columns, which tell secrets; none takes another's place."""
    found: dict[str, object] = {}
    for at, (name, value) in enumerate(zip(columns, row, strict=True), 1):
        found[name if name not in found else f"{name} ({at})"] = value
    return found


def _failure(row: tuple[Any, ...]) -> dict[str, Any]:
    name, error_type, fingerprint, times, _, first, newest, error = row
    return {
        "name": name,
        "error_type": error_type,
        "fingerprint": fingerprint,
        "times": times,
        "first": aware(first),
        "newest": newest,
        "error": error,
    }


def _reason(one: Reason) -> dict[str, Any]:
    return {**asdict(one), "severity": one.severity.value, "about": dict(one.about)}


def _listed(info: TaskInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "name": info.name,
        "category": info.category,
        "status": info.status.value,
        "attempt": info.attempt,
        "created_at": info.created_at,
        "run_at": info.run_at,
        "started_at": info.started_at,
        "completed_at": info.completed_at,
        "progress": info.progress,
        "error": info.error,
    }


def _move(one: HistoryEntry) -> dict[str, Any]:
    after, before = one.to_status.value, one.from_status
    return {**asdict(one), "to_status": after, "from_status": before and before.value}


def _act(one: Act) -> dict[str, Any]:
    return {**asdict(one), "finished": one.finished}
