"""``wopr schedules``: look at schedules and change them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from wopr.cli import tables
from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, with_queue
from wopr.cli.declared import Argument, Group, Option
from wopr.cli.output import document, pairs, say, table
from wopr.core.scheduleinfo import ScheduleInfo
from wopr.domain.spoken import age, counted, local
from wopr.queue.queue import TaskQueue

app = Group("schedules", help="Look at schedules and change them.")

SHOWN = 10
"""So many missed times are shown; --json has all that are remembered."""

Name = Annotated[str, Argument(metavar="NAME", help="The name of a schedule.")]


def _corrected(queue: TaskQueue, info: ScheduleInfo) -> ScheduleInfo:
    """Correct an answer that is true only of this command: it has no scheduler, no functions."""
    if info.reason not in {"no scheduler", "unregistered"} or not queue.storage.is_open:
        return info
    when = f"It is planned for {local(info.next_fire_at)}"
    text = (
        f"{when}, but no process has the database open, so nothing fires. Start one: wopr worker "
        "module:queue"
    )
    return replace(info, reason="no worker process", text=text)


@app.command("list")
def list_schedules(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """List all schedules by name."""

    async def ask(queue: TaskQueue) -> list[ScheduleInfo]:
        return [_corrected(queue, info) for info in await queue.schedules.list()]

    found = with_queue(database, ask)
    if as_json:
        document({"schedules": found})
        return
    if not found:
        say("There are no schedules.")
        return
    table(tables.SCHEDULES, [_row(info) for info in found])


def _row(info: ScheduleInfo) -> tuple[object, ...]:
    return (
        info.name,
        info.task,
        info.description,
        info.reason,
        local(info.next_fire_at),
        local(info.last_fire_at),
        info.missed,
        info.skipped,
    )


def _all(info: ScheduleInfo) -> dict[str, object]:
    late = f"{info.misfire.value} after {age(info.misfire_grace)}"
    return {
        "name": info.name,
        "state": info.reason,
        "why": info.text,
        "task": info.task,
        "when": info.description,
        "next": info.next_fire_at,
        "last": info.last_fire_at,
        "last task": info.last_task_id,
        "live tasks": ", ".join(info.live) or None,
        "starts": info.start_at,
        "ends": info.end_at,
        "runs on start": info.run_on_start or None,
        "depends on": ", ".join(info.depends_on) or None,
        "runs as": info.run_as,
        "missed": f"{counted(info.missed, 'time')}, {late}",
        "missed last": ", ".join(map(local, info.missed_times[-SHOWN:])) or None,
        "skipped": f"{counted(info.skipped, 'time')}, overlap {info.overlap.value}",
        "at once": info.max_running,
        "jitter": age(info.jitter) if info.jitter else None,
        "category": info.category,
        "priority": info.priority.name,
        "retries": info.max_retries,
        "tags": ", ".join(info.tags) or None,
        "args": list(info.args) or None,
        "kwargs": info.kwargs or None,
        "declared by": info.origin,
        "created": info.created_at,
        "updated": info.updated_at,
    }


@app.command()
def show(name: Name, database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Show all that is known of a schedule, and why it is not firing."""

    async def ask(queue: TaskQueue) -> ScheduleInfo:
        return _corrected(queue, await queue.schedules.get(name))

    info = with_queue(database, ask)
    if as_json:
        document(info)
        return
    pairs("Schedule", {key: value for key, value in _all(info).items() if value is not None})


@app.command()
def pause(
    name: Name,
    reason: Annotated[str, Option("--reason", "-r", help="For those who look later.")] = (
        "paused by hand"
    ),
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Fire a schedule no more until it is resumed."""
    _change(database, lambda queue: queue.schedules.pause(name, reason), as_json=as_json)


@app.command()
def resume(name: Name, database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Go on with the next occurrence after now."""
    _change(database, lambda queue: queue.schedules.resume(name), as_json=as_json)


def _change(
    database: Path,
    work: Callable[[TaskQueue], Coroutine[Any, Any, ScheduleInfo]],
    *,
    as_json: bool,
) -> None:
    async def change(queue: TaskQueue) -> ScheduleInfo:
        return _corrected(queue, await work(queue))

    info = with_queue(database, change)
    if as_json:
        document(info)
    else:
        say(info)


@app.command()
def run(name: Name, database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Enqueue one task of a schedule at once, paused or not."""

    async def ask(queue: TaskQueue) -> str:
        return (await queue.schedules.run_now(name)).id

    task_id = with_queue(database, ask)
    if as_json:
        document({"task_id": task_id})
    else:
        say(f"{task_id} enqueued")


@app.command()
def remove(name: Name, database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Delete a schedule; its tasks stay. One that the code declares comes back with its start."""
    with_queue(database, lambda queue: queue.schedules.remove(name))
    if as_json:
        document({"removed": name})
    else:
        say(f"{name} removed")


@app.command()
def preview(
    name: Name,
    count: Annotated[int, Option("--count", "-n", min=1, max=10_000, help="How many.")] = 5,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Show when a schedule would fire next."""
    times = with_queue(database, lambda queue: queue.schedules.preview(name, count))
    if as_json:
        document({"name": name, "times": times})
        return
    for moment in times:
        say(local(moment))
    if not times:
        say("It never fires again.")
