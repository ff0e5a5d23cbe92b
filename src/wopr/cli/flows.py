"""``wopr flows``: look at tasks that were enqueued together, and cancel them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, with_queue
from wopr.cli.errors import NO, NothingFoundError
from wopr.cli.output import document, pairs, say, table, utc
from wopr.domain.errors import TaskNotFoundError
from wopr.domain.task import TaskInfo
from wopr.flows import FlowHandle, FlowProgress
from wopr.insights import queries
from wopr.queue.queue import TaskQueue

T = TypeVar("T")

app = typer.Typer(
    name="flows", help="Look at flows of tasks and cancel them.", no_args_is_help=True
)

FlowId = Annotated[str, typer.Argument(metavar="ID", help="The id of a flow.")]


@app.command("list")
def list_flows(
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="At most so many.")] = 50,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """List flows, newest first. Times are UTC."""
    found = list(with_queue(database, lambda queue: queue.sql(queries.FLOWS, limit)))
    if as_json:
        document({"flows": found})
    elif not found:
        say("There are no flows.")
    else:
        counts = ("tasks", "ended", "succeeded", "failed", "cancelled", "running", "waiting")
        columns = ("id", *counts, "created", "completed")
        table(
            columns,
            [
                (
                    row["flow_id"],
                    *(row[name] for name in counts),
                    utc(row["created_at"]),
                    utc(row["completed_at"]),
                )
                for row in found
            ],
        )


@app.command()
def show(
    flow_id: FlowId,
    limit: Annotated[
        int, typer.Option("--limit", "-l", min=1, help="At most so many of its tasks.")
    ] = 50,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Show how far a flow is, and its newest tasks. Times are UTC."""

    async def ask(
        queue: TaskQueue, flow: FlowHandle[Any]
    ) -> tuple[FlowProgress, dict[str, Any], list[TaskInfo]]:
        times = (await queue.sql(queries.FLOW_TIMES, flow.id))[0]
        return await flow.progress(), times, await queue.get_tasks(flow_id=flow.id, limit=limit)

    progress, times, tasks = _with_flow(database, flow_id, ask)
    if as_json:
        counts = {**asdict(progress), "percent": progress.percent}
        document({"id": flow_id, **counts, **times, "tasks": tasks})
        return
    pairs(
        {
            "id": flow_id,
            "created": times["created_at"],
            "started": times["first_started_at"],
            "completed": times["completed_at"],
            "ended": f"{progress.ended} of {progress.total} ({progress.percent:.0f} %)",
            **{
                name: count
                for name, count in asdict(progress).items()
                if count and name not in {"total", "ended"}
            },
        }
    )
    columns = ("id", "name", "category", "status", "attempt", "note")
    table(columns, [_row(info) for info in tasks])
    if len(tasks) < progress.total:
        say(f"The newest {len(tasks)} of {progress.total} tasks: --limit shows more.")


def _row(info: TaskInfo) -> tuple[object, ...]:
    note = (info.error or "").strip().partition("\n")[0]
    if info.waiting:
        note = f"waits for some of its {len(info.depends_on)} parents"
    return info.id, info.name, info.category, info.status, info.attempt, note


@app.command()
def cancel(flow_id: FlowId, database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Cancel all tasks of a flow that have not ended."""

    async def end(queue: TaskQueue, flow: FlowHandle[Any]) -> int:
        return await flow.cancel()

    count = _with_flow(database, flow_id, end)
    if as_json:
        document({"id": flow_id, "cancelled": count})
    elif count:
        say(f"{flow_id}: {count} tasks cancelled")
    else:
        say(f"{flow_id} not cancelled: all of its tasks have ended")
    if not count:
        raise typer.Exit(NO)


@app.command()
def mermaid(
    flow_id: FlowId, database: Database = DEFAULT_DATABASE, as_json: AsJson = False
) -> None:
    """Print a picture of a flow: the text of a Mermaid flow chart."""

    async def draw(queue: TaskQueue, flow: FlowHandle[Any]) -> str:
        return await flow.mermaid()

    text = _with_flow(database, flow_id, draw)
    if as_json:
        document({"id": flow_id, "mermaid": text})
    else:
        for line in text.splitlines():
            say(line)


def _with_flow(
    database: Path,
    flow_id: str,
    work: Callable[[TaskQueue, FlowHandle[Any]], Coroutine[Any, Any, T]],
) -> T:
    async def run(queue: TaskQueue) -> T:
        try:
            flow = await queue.flow(flow_id)
        except TaskNotFoundError as error:
            raise NothingFoundError(str(error)) from error
        return await work(queue, flow)

    return with_queue(database, run)
