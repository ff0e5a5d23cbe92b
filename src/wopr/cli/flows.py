"""``wopr flows``: look at tasks that were enqueued together, and cancel them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

from click.exceptions import Exit

from wopr.cli import tables
from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, with_queue
from wopr.cli.declared import Argument, Group, Option
from wopr.cli.errors import NO, NothingFoundError
from wopr.cli.ids import enough, whole
from wopr.cli.output import document, pairs, say, table
from wopr.domain.errors import TaskNotFoundError
from wopr.domain.spoken import counted, local
from wopr.domain.task import TaskInfo
from wopr.flows import FlowHandle, FlowProgress
from wopr.insights import queries
from wopr.queue.queue import TaskQueue

T = TypeVar("T")

app = Group("flows", help="Look at flows of tasks and cancel them.")

FlowId = Annotated[str, Argument(metavar="ID", help="The id of a flow, or its beginning.")]


@app.command("list")
def list_flows(
    limit: Annotated[int, Option("--limit", "-l", min=1, help="At most so many.")] = 50,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """List flows, newest first."""

    async def ask(queue: TaskQueue) -> tuple[list[dict[str, Any]], int]:
        rows = list(await queue.sql(queries.FLOWS, limit))
        return rows, await enough(queue, [str(row["flow_id"]) for row in rows], flow=True)

    found, prefix = with_queue(database, ask)
    if as_json:
        document({"flows": found})
    elif not found:
        say("There are no flows.")
    else:
        counts = ("tasks", "ended", "succeeded", "failed", "cancelled", "running", "waiting")
        table(
            tables.FLOWS,
            [
                (
                    row["flow_id"],
                    *(row[name] for name in counts),
                    local(row["created_at"]),
                    local(row["completed_at"]),
                )
                for row in found
            ],
            prefix=prefix,
        )


@app.command()
def show(
    flow_id: FlowId,
    limit: Annotated[
        int, Option("--limit", "-l", min=1, help="At most so many of its tasks.")
    ] = 50,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Show how far a flow is, and its newest tasks."""

    async def ask(
        queue: TaskQueue, flow: FlowHandle[Any]
    ) -> tuple[FlowProgress, dict[str, Any], list[TaskInfo], int]:
        times = (await queue.sql(queries.FLOW_TIMES, flow.id, 0))[0]
        tasks = await queue.get_tasks(flow_id=flow.id, limit=limit)
        prefix = await enough(queue, [info.id for info in tasks])
        return await flow.progress(), {"id": flow.id, **times}, tasks, prefix

    progress, times, tasks, prefix = _with_flow(database, flow_id, ask)
    if as_json:
        counts = {**asdict(progress), "percent": progress.percent}
        document({**counts, **times, "tasks": tasks})
        return
    pairs(
        "Flow",
        {
            "id": times["id"],
            "created": times["created_at"],
            "started": times["first_started_at"],
            "completed": times["completed_at"],
            "ended": f"{progress.ended} of {progress.total} ({progress.percent:.0f} %)",
            **{
                name: count
                for name, count in asdict(progress).items()
                if count and name not in {"total", "ended"}
            },
        },
    )
    table(tables.FLOW_TASKS, [_row(info) for info in tasks], prefix=prefix)
    if len(tasks) < progress.total:
        say(f"The newest {len(tasks)} of {counted(progress.total, 'task')}: --limit shows more.")


def _row(info: TaskInfo) -> tuple[object, ...]:
    note = (info.error or "").strip().partition("\n")[0]
    if info.waiting:
        note = f"waits for some of its {counted(len(info.depends_on), 'parent')}"
    return info.id, info.name, info.category, info.status, info.attempt, note


@app.command()
def cancel(flow_id: FlowId, database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Cancel all tasks of a flow that have not ended."""

    async def end(queue: TaskQueue, flow: FlowHandle[Any]) -> tuple[str, int]:
        before = (await flow.progress()).cancelled
        await queue.tasks.where(flow=flow.id).cancel()  # an act, which can be taken back
        await flow.cancel()  # what was released meanwhile
        return flow.id, (await flow.progress()).cancelled - before

    flow_id, count = _with_flow(database, flow_id, end)
    if as_json:
        document({"id": flow_id, "cancelled": count})
    elif count:
        say(f"{flow_id}: {counted(count, 'task')} cancelled")
    else:
        say(f"{flow_id} not cancelled: all of its tasks have ended")
    if not count:
        raise Exit(NO)


@app.command()
def mermaid(
    flow_id: FlowId, database: Database = DEFAULT_DATABASE, as_json: AsJson = False
) -> None:
    """Print a picture of a flow: the text of a Mermaid flow chart."""

    async def draw(queue: TaskQueue, flow: FlowHandle[Any]) -> tuple[str, str]:
        return flow.id, await flow.mermaid()

    flow_id, text = _with_flow(database, flow_id, draw)
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
            flow = await queue.flow(await whole(queue, flow_id, flow=True))
        except TaskNotFoundError as error:
            raise NothingFoundError(str(error)) from error
        return await work(queue, flow)

    return with_queue(database, run)
