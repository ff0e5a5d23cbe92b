"""``wopr limits``, ``pause``, ``resume`` and ``revoke``: what an operator sets at run time."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated, Any

import typer

from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, with_queue
from wopr.cli.errors import UsageError
from wopr.cli.output import document, say, table, utc
from wopr.controls import KEEP
from wopr.domain.control import Pause, Revocation
from wopr.domain.limits import Limit, OnFull
from wopr.queue import TaskQueue

limits = typer.Typer(name="limits", help="Look at limits and change them.", no_args_is_help=True)

Category = Annotated[str, typer.Argument(metavar="CATEGORY", help="The name of a category.")]
AnyCategory = Annotated[
    str | None, typer.Argument(metavar="[CATEGORY]", help="The name of a category.")
]
TaskName = Annotated[
    str | None, typer.Option("--task", "-t", metavar="NAME", help="The name of tasks instead.")
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        "-k",
        metavar="EXPRESSION",
        help="Count for each value of this expression (JMESPath) over the arguments.",
    ),
]
Reason = Annotated[str, typer.Option("--reason", "-r", help="For those who look later.")]


@limits.command("list")
def list_limits(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """List all limits by category and key."""
    found = with_queue(database, lambda queue: queue.limits())
    if as_json:
        document({"limits": found})
        return
    if not found:
        say("There are no limits.")
        return
    columns = ("category", "key", "concurrency", "rate", "fair by", "aging", "backlog", "when full")
    table(columns, [_row(limit) for limit in found])


def _row(limit: Limit) -> tuple[object, ...]:
    return (
        limit.category,
        limit.key,
        limit.concurrency,
        None if limit.rate is None else f"{limit.rate} per {limit.per:g} s",
        limit.fair_by,
        None if limit.aging is None else f"{limit.aging:g} s",
        limit.backlog,
        limit.on_full.value if limit.backlog is not None else None,
    )


@limits.command("set")
def set_limit(
    category: Category,
    key: Key = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", "-c", help="Run so many at the same time.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", help="Start so many per period, like 100/minute.")
    ] = None,
    fair_by: Annotated[
        str | None,
        typer.Option("--fair-by", metavar="EXPRESSION", help="Its values take turns."),
    ] = None,
    aging: Annotated[
        float | None,
        typer.Option("--aging", metavar="SECONDS", help="A level of priority per so much waiting."),
    ] = None,
    backlog: Annotated[
        int | None, typer.Option("--backlog", help="Let so many wait at most.")
    ] = None,
    on_full: Annotated[
        OnFull | None, typer.Option("--on-full", help="What an enqueue does when so many wait.")
    ] = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Set limits of a category; what is not given stays as it is."""
    given: dict[str, Any] = {
        "concurrency": concurrency,
        "rate": rate,
        "fair_by": fair_by,
        "aging": None if aging is None else timedelta(seconds=aging),
        "backlog": backlog,
        "on_full": on_full,
    }
    if all(value is None for value in given.values()):
        raise UsageError(
            f"Say what to limit: wopr limits set {category} --concurrency 5, or --rate, --fair-by, "
            "--aging, --backlog. To take limits away: wopr limits remove."
        )
    changes = {name: KEEP if value is None else value for name, value in given.items()}
    limit = with_queue(database, lambda queue: queue.set_limit(category, key=key, **changes))
    if as_json:
        document(limit)
    else:
        say(f"{limit.name}: {limit.describe()}")


@limits.command("remove")
def remove_limit(
    category: Category,
    key: Key = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Take all limits of a category, or of a key inside of it, away."""
    removed = with_queue(database, lambda queue: queue.remove_limit(category, key))
    if as_json:
        document({"removed": removed})
    else:
        say("Removed." if removed else "There was no such limit.")


def pause(
    category: AnyCategory = None,
    task: TaskName = None,
    reason: Reason = "by hand",
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Start no more tasks of a category, or of a name, until `resume`. Alone: list what is paused.

    What runs goes on. It lasts over restarts.
    """
    if category is None and task is None:
        _list_pauses(with_queue(database, lambda queue: queue.pauses()), as_json=as_json)
        return
    with_queue(database, lambda queue: queue.pause(category, task=task, reason=reason))
    if as_json:
        document({"paused": category or task})
    else:
        say(f"{category or task} is paused. To go on: wopr resume {_target(category, task)}")


def _list_pauses(found: list[Pause], *, as_json: bool) -> None:
    if as_json:
        document({"pauses": found})
    elif found:
        rows = [(one.category, one.task, utc(one.since), one.reason) for one in found]
        table(("category", "task", "since", "reason"), rows)
    else:
        say("Nothing is paused.")


def resume(
    category: AnyCategory = None,
    task: TaskName = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Start tasks of a category, or of a name, again."""
    resumed = with_queue(database, lambda queue: queue.resume(category, task=task))
    if as_json:
        document({"resumed": resumed})
    else:
        say(f"{category or task} goes on." if resumed else f"{category or task} was not paused.")


def _target(category: str | None, task: str | None) -> str:
    return category if category is not None else f"--task {task}"


def revoke(
    task: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The name of tasks.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            "-w",
            metavar="EXPRESSION=JSON",
            help="Only those with this argument, like customer=7; may be repeated.",
        ),
    ] = None,
    standing: Annotated[
        bool, typer.Option("--standing", help="Cancel those too that are enqueued later.")
    ] = False,
    lift: Annotated[bool, typer.Option("--lift", help="End a standing revocation.")] = False,
    reason: Reason = "revoked",
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Cancel waiting and running tasks by name and arguments. Alone: list standing revocations."""
    if task is None:
        _list_revocations(with_queue(database, lambda queue: queue.revocations()), as_json=as_json)
        return
    wanted = dict(_condition(item) for item in where or ())

    async def change(queue: TaskQueue) -> int:
        if lift:
            return int(await queue.unrevoke(task, wanted))
        return await queue.revoke(task=task, where=wanted, standing=standing, reason=reason)

    number = with_queue(database, change)
    if as_json:
        document({"lifted": bool(number)} if lift else {"cancelled": number})
    elif lift:
        say("Lifted." if number else "There was no such standing revocation.")
    else:
        say(f"{number} tasks cancelled.")


def _condition(item: str) -> tuple[str, Any]:
    name, equals, text = item.partition("=")
    try:
        value = json.loads(text)
    except ValueError:
        value = text  # a text may go without its quotes
    if not equals or not name:
        raise UsageError(
            f"--where {item} is not expression=value. For the argument customer write for example: "
            "--where customer=7, or --where 'customer=\"7\"' for the text."
        )
    return name, value


def _list_revocations(found: list[Revocation], *, as_json: bool) -> None:
    if as_json:
        document({"revocations": found})
    elif found:
        rows = [(one.task, json.dumps(one.where), utc(one.since), one.reason) for one in found]
        table(("task", "where", "since", "reason"), rows)
    else:
        say("There are no standing revocations.")
