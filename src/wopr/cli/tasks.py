"""``wopr tasks``: look at tasks and change them."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from wopr.cli import tables
from wopr.cli.common import (
    DEFAULT_DATABASE,
    AsJson,
    Database,
    TaskId,
    with_queue,
)
from wopr.cli.declared import Group, Option
from wopr.cli.errors import NothingFoundError
from wopr.cli.ids import enough, whole
from wopr.cli.output import document, pairs, say, table
from wopr.cli.past import At, past_of
from wopr.cli.selections import Chosen, filtered
from wopr.cli.verbs import COMMANDS
from wopr.core.tasks import TaskPage
from wopr.domain.clock import SystemClock
from wopr.domain.errors import TaskNotFoundError
from wopr.domain.logline import LogLine
from wopr.domain.spoken import age, local
from wopr.domain.status import TaskStatus
from wopr.domain.task import UNLIMITED_RETRIES, TaskInfo
from wopr.ports.answers import Explanation, HistoryEntry
from wopr.queue.queue import TaskQueue

app = Group("tasks", help="Look at tasks and change them.")


@app.command("list")
@filtered
def list_tasks(
    chosen: Chosen,
    limit: Annotated[int, Option("--limit", "-l", min=1, help="At most so many.")] = 50,
    cursor: Annotated[
        str | None,
        Option("--cursor", metavar="ID", help="The last id of the page before."),
    ] = None,
    at: At = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """List tasks, newest first; with conditions those for which all of them hold."""

    async def ask(queue: TaskQueue) -> tuple[TaskPage, int]:
        last = None if cursor is None else await whole(queue, cursor)
        page = await _page(queue, chosen, limit, last, at)
        return page, await enough(queue, [info.id for info in page.tasks])

    page, prefix = with_queue(database, ask)
    found, more = page.tasks, page.next
    if as_json:
        document({"tasks": found, "next_cursor": more})
        return
    if not found:
        say("No tasks match." if chosen.any or cursor else "There are no tasks.")
        return
    table(tables.TASKS, [_row(info) for info in found], prefix=prefix)
    if more:
        say(f"There may be more: --cursor {more}")


async def _page(
    queue: TaskQueue, chosen: Chosen, limit: int, last: str | None, at: str | None
) -> TaskPage:
    if at is not None:
        ids = [await whole(queue, one) for one in chosen.ids]
        given = chosen.conditions
        flow = given.pop("flow", None)
        found = await past_of(queue, at).get_tasks(
            limit=limit, cursor=last, ids=ids or None, flow_id=flow, **given
        )
    elif (simple := chosen.simple) is not None:  # pages of any length
        found = await queue.get_tasks(limit=limit, cursor=last, **simple)
    else:
        return await chosen.of(queue).page(limit, last)
    return TaskPage(tuple(found), found[-1].id if len(found) == limit else None)


def _row(info: TaskInfo) -> tuple[object, ...]:
    return (
        info.id,
        info.name,
        info.category,
        info.priority.name,
        info.status,
        info.attempt,
        local(info.created_at),
        _note(info),
    )


def _note(info: TaskInfo) -> str:
    if info.status is TaskStatus.STARTED:
        return f"{info.progress:.0f} % {info.progress_message}".strip() if info.progress else ""
    if info.status is TaskStatus.SUCCESS:
        return f"ran {age(info.elapsed_seconds)}"
    due = info.run_at and not info.is_completed and info.run_at > SystemClock().now()
    text = f"due {local(info.run_at)}" if due else ""
    error = (info.error or "").strip().partition("\n")[0][:120]
    return ", ".join(part for part in (text, error) if part)


@app.command()
def show(
    task_id: TaskId,
    at: At = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Show all that is known of a task."""

    async def ask(queue: TaskQueue) -> TaskInfo | None:
        wanted = await whole(queue, task_id)
        if at is not None:
            return await past_of(queue, at).require_task_info(wanted)
        return await queue.get_task_info(wanted)

    info = with_queue(database, ask)
    if info is None:
        raise NothingFoundError(_unknown(task_id, database))
    if as_json:
        document(info)
        return
    values = _all_of(info)
    pairs("Task", {name: value for name, value in values.items() if value is not None})


def _all_of(info: TaskInfo) -> dict[str, object]:
    limit = "no limit" if info.max_retries == UNLIMITED_RETRIES else info.max_retries
    running = f"{info.progress:.0f} % {info.progress_message}".strip()
    return {
        "id": info.id,
        "name": info.name,
        "category": info.category,
        "priority": info.priority.name,
        "status": info.status,
        "attempt": info.attempt,
        "retries": f"{info.retry_count} of {limit}",
        "crashes": info.crashes or None,
        "created": info.created_at,
        "due": info.run_at,
        "started": info.started_at,
        "completed": info.completed_at,
        "ran": age(info.elapsed_seconds) if info.elapsed_seconds else None,
        "worker": info.worker,
        "progress": running if info.progress or info.progress_message else None,
        "progress data": info.progress_data or None,
        "timeout": age(info.timeout) if info.timeout else None,
        "unique key": info.unique_key,
        "tags": ", ".join(info.tags) or None,
        "args": list(info.args) or None,
        "kwargs": info.kwargs or None,
        "result": info.result,
        "error": info.error,
    }


for name, command in COMMANDS.items():
    app.command(name)(command)


@app.command()
def history(
    task_id: TaskId,
    traceback: Annotated[
        bool, Option("--traceback", "-t", help="Print the tracebacks of failed attempts.")
    ] = False,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Show every move of a task, oldest first."""

    async def ask(queue: TaskQueue) -> list[HistoryEntry]:
        return await queue.get_history(await whole(queue, task_id))

    entries = with_queue(database, ask)
    if not entries:
        raise NothingFoundError(_unknown(task_id, database))
    if as_json:
        document({"task_id": entries[0].task_id, "history": entries})
        return
    table(tables.HISTORY, [_move(entry) for entry in entries])
    for entry in entries if traceback else ():
        if entry.traceback:
            pairs(f"Attempt {entry.attempt}", {"traceback": entry.traceback})


def _move(entry: HistoryEntry) -> tuple[object, ...]:
    return (
        entry.seq,
        entry.occurred_at,
        entry.attempt,
        entry.from_status,
        entry.to_status,
        entry.reason,
        entry.worker,
        entry.error,
    )


@app.command()
def logs(task_id: TaskId, database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Show what a task logged in each attempt, as far as it was kept."""

    async def ask(queue: TaskQueue) -> tuple[str, list[LogLine]]:
        found = await whole(queue, task_id)
        lines = await queue.get_logs(found)
        if not lines and await queue.get_task_info(found) is None:
            raise NothingFoundError(_unknown(task_id, database))
        return found, lines

    task_id, lines = with_queue(database, ask)
    if as_json:
        document({"task_id": task_id, "logs": lines})
    elif not lines:
        say("It has logged nothing that was kept. `wopr worker` keeps what a task logs.")
    for line in () if as_json else lines:
        when = f"{local(line.logged_at)} attempt {line.attempt}"
        say(f"{when} {line.level:<7} {line.logger}: {line.message}", lines=True)


@app.command()
def explain(
    task_id: TaskId, database: Database = DEFAULT_DATABASE, as_json: AsJson = False
) -> None:
    """Say why a task stands where it stands."""

    async def ask(queue: TaskQueue) -> Explanation:
        try:
            answer = await queue.explain(await whole(queue, task_id))
        except TaskNotFoundError as error:
            raise NothingFoundError(_unknown(task_id, database)) from error
        nobody = answer.reason in {"unregistered", "no workers"} and bool(queue.queues)
        return await _without_owner(queue, answer) if nobody else answer

    answer = with_queue(database, ask)
    if as_json:
        document(answer)
    else:
        say(answer.text)


async def _without_owner(queue: TaskQueue, answer: Explanation) -> Explanation:
    """Correct an answer that is true only of this command: it has no functions, no workers."""
    info = await queue.require_task_info(answer.task_id)
    due = f" It is due at {local(info.run_at)}." if info.run_at is not None else ""
    text = (
        f"It is {info.status.value} and no process has the database open, so nothing works on "
        f"it.{due} Start one: wopr worker module:queue -c {shlex.quote(info.category)}:4"
    )
    return replace(answer, reason="no worker process", text=text)


def _unknown(task_id: str, database: Path) -> str:
    return f"There is no task {task_id!r} in {database} (any more)."
