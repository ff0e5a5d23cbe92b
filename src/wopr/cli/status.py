"""``wopr status`` and ``wopr explain``: whether work flows, and why not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from click.exceptions import Exit

from wopr.cli import tasks
from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, typed, with_queue
from wopr.cli.declared import Argument, Option
from wopr.cli.errors import NO, OK, STORAGE, NothingFoundError, UsageError
from wopr.cli.ids import whole
from wopr.cli.output import document, say
from wopr.cli.past import At, past_of, print_status
from wopr.config.settings import Settings
from wopr.domain.errors import ScheduleNotFoundError, TaskNotFoundError
from wopr.domain.reason import Reason
from wopr.ports.status import GroupExplanation, State, Status
from wopr.queue.queue import TaskQueue

_EXITS = {State.FLOWING: OK, State.HELD: NO, State.STOPPED: NO}


def status(at: At = None, database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Say whether work flows; if not, why, the most harmful reason first, and what mends it.

    Exit code 0 if it flows, 1 if something is held back, 3 if the database can't be used. With
    --at what waited and ran then, on how many workers, and what was paused; exit code 0.
    """
    if at is not None:
        was = with_queue(database, lambda queue: past_of(queue, at).status())
        if as_json:
            document(was)
        else:
            print_status(was)
        return

    async def ask() -> Status:
        queue = TaskQueue(enabled=True, database=database)
        try:
            return await queue.status()
        finally:
            await queue.shutdown()

    found = asyncio.run(ask())
    if as_json:
        document(found)
    else:
        say(found.text)
        _list(found.reasons, database)
        if found.kept is not None:
            say(str(found.kept))
    raise Exit(STORAGE if found.owner is None else _EXITS[found.state])


def explain(
    task_id: Annotated[
        str | None, Argument(metavar="[ID]", help="The id of a task; or one of the options.")
    ] = None,
    category: Annotated[
        str | None, Option("--category", "-c", help="Why the tasks of a category wait.")
    ] = None,
    name: Annotated[
        str | None, Option("--name", "-n", help="Why the tasks of a name wait.")
    ] = None,
    flow: Annotated[
        str | None, Option("--flow", "-f", metavar="ID", help="How far a flow is, and why.")
    ] = None,
    schedule: Annotated[
        str | None, Option("--schedule", "-s", metavar="NAME", help="Why it does not fire.")
    ] = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Say why a task stands where it stands; or those of a category, a name, a flow, a schedule."""
    given = [one for one in (task_id, category, name, flow, schedule) if one is not None]
    if len(given) != 1:
        raise UsageError(
            "Name one thing: wopr explain ID, or --category mail, --name send_mail, --flow ID, "
            "--schedule nightly. For the whole queue: wopr status"
        )
    if task_id is not None:
        tasks.explain(task_id, database, as_json=as_json)
        return
    found = with_queue(database, lambda queue: _explain(queue, category, name, flow, schedule))
    if as_json:
        document(found)
    else:
        say(found.text)
        _list(found.reasons, database)


async def _explain(
    queue: TaskQueue,
    category: str | None,
    name: str | None,
    flow: str | None,
    schedule: str | None,
) -> GroupExplanation:
    try:
        if category is not None:
            return await queue.explain(category=category)
        if name is not None:
            return await queue.explain(name=name)
        if flow is not None:
            return await queue.explain(flow=await whole(queue, flow, flow=True))
        return await queue.explain(schedule=schedule or "")
    except (TaskNotFoundError, ScheduleNotFoundError) as error:
        raise NothingFoundError(str(error)) from error


def _list(reasons: tuple[Reason, ...], database: Path) -> None:
    for number, one in enumerate(reasons, 1):
        say(f"{number}. {one.text}")
        if one.command is not None:
            say(f"   $ {_for(one.command, database)}")


def _for(command: str, database: Path) -> str:
    """Return a command that is about this database, whichever `wopr` would take by itself."""
    if not command.startswith("wopr ") or database == Settings().database:
        return command
    return f"{command} -d {typed(database)}"
