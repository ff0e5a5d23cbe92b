"""``wopr limits``, ``pause``, ``resume`` and ``revoke``: what an operator sets at run time."""

from __future__ import annotations

import json
from collections.abc import Callable
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from click.exceptions import Exit

from wopr.cli import tables
from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, with_queue
from wopr.cli.declared import Argument, Group, Option
from wopr.cli.errors import NO, UsageError
from wopr.cli.output import complain, document, say, table
from wopr.domain.checks import is_task_id
from wopr.domain.controls import Pause, Revocation
from wopr.domain.errors import WoprError
from wopr.domain.limits import Limit, OnFull
from wopr.domain.spoken import age, counted, local, named
from wopr.insights import queries
from wopr.queue.controls import KEEP
from wopr.queue.queue import TaskQueue

limits = Group("limits", help="Look at limits and change them.")

Category = Annotated[str, Argument(metavar="CATEGORY", help="The name of a category.")]
AnyCategory = Annotated[str | None, Argument(metavar="[CATEGORY]", help="The name of a category.")]
TaskName = Annotated[
    str | None, Option("--task", "-t", metavar="NAME", help="The name of tasks instead.")
]
Key = Annotated[
    str | None,
    Option(
        "--key",
        "-k",
        metavar="EXPRESSION",
        help="Count for each value of this expression (JMESPath) over the arguments.",
    ),
]
NONE = "none"
"""Takes one limit away."""

LimitedTask = Annotated[
    str | None,
    Option("--task", metavar="NAME", help="Count the tasks of this name only."),
]
Concurrency = Annotated[
    str | None,
    Option("--concurrency", "-c", metavar=f"NUMBER|{NONE}", help="Run so many at the same time."),
]
Rate = Annotated[
    str | None,
    Option("--rate", metavar=f"RATE|{NONE}", help="Start so many per period, like 100/minute."),
]
FairBy = Annotated[
    str | None,
    Option("--fair-by", metavar=f"EXPRESSION|{NONE}", help="Its values take turns."),
]
Aging = Annotated[
    str | None,
    Option("--aging", metavar=f"SECONDS|{NONE}", help="A level of priority per so much waiting."),
]
Backlog = Annotated[
    str | None,
    Option("--backlog", metavar=f"NUMBER|{NONE}", help="Let so many wait at most."),
]
Reason = Annotated[str, Option("--reason", "-r", help="For those who look later.")]


@limits.command("list")
def list_limits(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """List all limits by category, task and key, and what the code declares."""
    found = with_queue(database, lambda queue: queue.limits())
    if as_json:
        document({"limits": found})
        return
    if not found:
        say("There are no limits.")
        return
    table(tables.LIMITS, [_row(limit) for limit in found])


def _row(limit: Limit) -> tuple[object, ...]:
    return (
        limit.category,
        limit.task,
        limit.key,
        limit.concurrency,
        None if limit.rate is None else f"{limit.rate} per {age(limit.per)}",
        limit.fair_by,
        None if limit.aging is None else age(limit.aging),
        limit.backlog,
        limit.on_full.value if limit.backlog is not None else None,
        _declared(limit),
    )


def _declared(limit: Limit) -> str | None:
    """Return whether the code declares it, and what, where something else counts."""
    if limit.declared is None:
        return None
    return f"{limit.declared.describe()}, changed since" if limit.differs else "yes"


@limits.command("set")
def set_limit(
    category: Category,
    task: LimitedTask = None,
    key: Key = None,
    concurrency: Concurrency = None,
    rate: Rate = None,
    fair_by: FairBy = None,
    aging: Aging = None,
    backlog: Backlog = None,
    on_full: Annotated[
        OnFull | None, Option("--on-full", help="What an enqueue does when so many wait.")
    ] = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Set limits of a category or a task in it; what is not given stays, `none` takes one away."""
    changes: dict[str, Any] = {
        "concurrency": _given("--concurrency", concurrency, int),
        "rate": _given("--rate", rate, str),
        "fair_by": _given("--fair-by", fair_by, str),
        "aging": _given("--aging", aging, float),
        "backlog": _given("--backlog", backlog, int),
        "on_full": KEEP if on_full is None else on_full,
    }
    if all(value is KEEP for value in changes.values()):
        raise UsageError(
            f"Say what to limit: wopr limits set {category} --concurrency 5, or --rate, --fair-by, "
            "--aging, --backlog. To take one away: --concurrency none; all: wopr limits remove."
        )

    async def change(queue: TaskQueue) -> Limit:
        limit = await queue.set_limit(category, task=task, key=key, **changes)
        await _complain_if_unknown(queue, "category", category)
        await _complain_if_unknown(queue, "name", task)
        return limit

    limit = with_queue(database, change)
    if as_json:
        document(limit)
    else:
        say(f"{limit.name}: {limit.words()}")


def _given(option: str, text: str | None, kind: Callable[[str], object]) -> object:
    """Return what an option says: ``KEEP`` if it is left out, ``None`` for "none"."""
    if text is None:
        return KEEP
    if text == NONE:
        return None
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(
            f"{option} must be {what}, or {NONE} to take this limit away, not {text!r}."
        ) from None


@limits.command("remove")
def remove_limit(
    category: Category,
    task: LimitedTask = None,
    key: Key = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Take all limits of a category, or of a task or a key inside of it, away."""
    removed = with_queue(database, lambda queue: queue.remove_limit(category, key, task=task))
    if as_json:
        document({"removed": removed})
    else:
        say("Removed." if removed else "There was no such limit.")
    if not removed:
        raise Exit(NO)


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
    _require_one("pause", category, task)

    async def change(queue: TaskQueue) -> None:
        await queue.pause(category, task=task, reason=reason)
        await _complain_if_unknown(queue, "category" if task is None else "name", category or task)

    with_queue(database, change)
    if as_json:
        document({"paused": category or task})
    else:
        say(f"{category or task} is paused. To go on: wopr resume {_target(category, task)}")


def _list_pauses(found: list[Pause], *, as_json: bool) -> None:
    if as_json:
        document({"pauses": found})
    elif found:
        rows = [(one.category, one.task, local(one.since), one.by, one.reason) for one in found]
        table(tables.PAUSES, rows)
    else:
        say("Nothing is paused.")


def resume(
    category: AnyCategory = None,
    task: TaskName = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Start tasks of a category, or of a name, again."""
    _require_one("resume", category, task)
    resumed = with_queue(database, lambda queue: queue.resume(category, task=task))
    if as_json:
        document({"resumed": resumed})
    else:
        say(f"{category or task} goes on." if resumed else f"{category or task} was not paused.")
    if not resumed:
        raise Exit(NO)


def _require_one(command: str, category: str | None, task: str | None) -> None:
    if (category is None) == (task is None):
        raise UsageError(
            f"Name a category, or a name of tasks with --task, not both: wopr {command} mail, or "
            f"wopr {command} --task send_mail."
        )


def _target(category: str | None, task: str | None) -> str:
    return category if category is not None else f"--task {task}"


def revoke(
    task: Annotated[str | None, Argument(metavar="[NAME]", help="The name of tasks.")] = None,
    where: Annotated[
        list[str] | None,
        Option(
            "--where",
            "-w",
            metavar="EXPRESSION=JSON",
            help="Only those with this argument, like customer=7; may be repeated.",
        ),
    ] = None,
    standing: Annotated[
        bool, Option("--standing", help="Cancel those too that are enqueued later.")
    ] = False,
    lift: Annotated[bool, Option("--lift", help="End a standing revocation.")] = False,
    reason: Reason = "revoked",
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Cancel waiting and running tasks by name and arguments. Alone: list standing revocations."""
    if task is None:
        _list_revocations(with_queue(database, lambda queue: queue.revocations()), as_json=as_json)
        return
    if not lift and is_task_id(task):
        raise UsageError(f"That is the id of a task: wopr tasks cancel {task}")
    wanted = dict(_condition(item) for item in where or ())

    async def change(queue: TaskQueue) -> int:
        if lift:
            return int(await queue.unrevoke(task, wanted))
        ended = await queue.revoke(task=task, where=wanted, standing=standing, reason=reason)
        await _complain_if_unknown(queue, "name", task)
        return ended

    number = with_queue(database, change)
    if lift:
        _say_lifted(lifted=bool(number), as_json=as_json)
    elif as_json:
        document({"cancelled": number})
    else:
        say(f"{counted(number, 'task')} cancelled.")


def _say_lifted(*, lifted: bool, as_json: bool) -> None:
    if as_json:
        document({"lifted": lifted})
    else:
        say("Lifted." if lifted else "There was no such standing revocation.")
    if not lifted:
        raise Exit(NO)


async def _complain_if_unknown(
    queue: TaskQueue, column: Literal["category", "name"], value: str | None
) -> None:
    """Say if no task has this category, or name: it may be misspelt. What was asked is done."""
    if value is None:
        return
    try:
        rows = await queue.sql(queries.CATEGORIES if column == "category" else queries.NAMES)
    except WoprError:  # too slow, or no SQL: the command has succeeded all the same
        return
    known = [row["value"] for row in rows]
    if rows.truncated or value in known:
        return
    near = get_close_matches(value, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    complain(f"No task of {column} {value!r} is known in this database.{hint}")


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
        rows = [
            (one.task, " ".join(named(one.where)), local(one.since), one.reason) for one in found
        ]
        table(tables.REVOCATIONS, rows)
    else:
        say("There are no standing revocations.")
