"""``wopr alerts``: what somebody is told about."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

from wopr.cli import tables
from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, with_queue
from wopr.cli.declared import Argument, Group, Option
from wopr.cli.errors import NothingFoundError, UsageError
from wopr.cli.output import document, say, table
from wopr.domain.alertrule import AlertCondition, AlertRule
from wopr.domain.level import NotificationLevel
from wopr.domain.spoken import age
from wopr.notifications.alertbook import AlertBook, AlertOptions
from wopr.queue.face import inside
from wopr.queue.queue import TaskQueue

app = Group("alerts", help="Look at alerts and change them.")

THRESHOLDS = {
    AlertCondition.SLOW: ("seconds", 60),
    AlertCondition.BACKLOG_AGE: ("seconds", 300),
    AlertCondition.BACKLOG_SIZE: ("due tasks", 100),
}
"""What needs a threshold: what it counts, and an example."""

When = Annotated[AlertCondition, Option("--when", "-w", help="The condition.")]
Task = Annotated[
    str | None, Option("--task", "-t", help="Only tasks of this name; * for any letters.")
]
Category = Annotated[str | None, Option("--category", "-c", help="Only tasks of this category.")]
Threshold = Annotated[
    float | None,
    Option(
        help="Seconds for slow and backlog_age, due tasks for backlog_size, failed attempts "
        "for recovery."
    ),
]
Level = Annotated[
    NotificationLevel | None,
    Option("--level", "-l", help="Of the notification; default: by the condition."),
]
Every = Annotated[
    float | None,
    Option(help="Seconds between two notifications about the same; default 300."),
]
Emits = Annotated[str | None, Option(help="Category of the notification; default: alerts.")]
Name = Annotated[str, Argument(metavar="NAME", help="The name of an alert.")]


@app.command("list")
def list_alerts(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """List all alerts by name. The NotificationService of the application emits them."""

    async def ask(queue: TaskQueue) -> list[AlertRule]:
        return await _book(queue).all()

    found = with_queue(database, ask)
    if as_json:
        document({"alerts": [_document(rule) for rule in found]})
        return
    if not found:
        say("There are no alerts.")
        return
    table(tables.ALERTS, [_row(rule) for rule in found])


def _row(rule: AlertRule) -> tuple[object, ...]:
    return (
        rule.name,
        rule.when,
        rule.threshold,
        rule.task,
        rule.category,
        rule.level,
        age(rule.every),
        rule.emits,
    )


@app.command()
def add(
    name: Name,
    when: When,
    task: Task = None,
    category: Category = None,
    threshold: Threshold = None,
    level: Level = None,
    every: Every = None,
    emits: Emits = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Add an alert, or change the one of this name. A running service knows it in seconds."""
    if threshold is None and when in THRESHOLDS:
        raise UsageError(_needs_threshold(name, when))
    options: AlertOptions = {
        "when": when,
        "task": task,
        "category": category,
        "threshold": threshold,
        "level": level,
    }
    if every is not None:
        options["every"] = every
    if emits is not None:
        options["emits"] = emits

    async def change(queue: TaskQueue) -> tuple[AlertRule | None, AlertRule]:
        book = _book(queue)
        before = next((rule for rule in await book.all() if rule.name == name), None)
        return before, await book.add(name, **options)

    before, rule = with_queue(database, change)
    if as_json:
        document(_document(rule))
    else:
        say(_added(before, rule))


@app.command()
def remove(name: Name, database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Remove an alert. One that the code adds comes back with its start."""
    if not with_queue(database, lambda queue: _book(queue).remove(name)):
        raise NothingFoundError(_unknown(database, name))
    if as_json:
        document({"removed": name})
    else:
        say(f"{name} removed")


def _book(queue: TaskQueue) -> AlertBook:
    return AlertBook(queue, inside(queue).time)


def _document(rule: AlertRule) -> dict[str, Any]:
    return rule.model_dump(mode="json", exclude={"seen"})


def _needs_threshold(name: str, when: AlertCondition) -> str:
    unit, example = THRESHOLDS[when]
    return (
        f"{when} needs a threshold, in {unit}. For example: "
        f"wopr alerts add {shlex.quote(name)} --when {when} --threshold {example}"
    )


def _added(before: AlertRule | None, rule: AlertRule) -> str:
    if before is None:
        return f"{rule.name} added"
    old = _document(before)
    if old == _document(rule):
        return f"{rule.name} stays as it was"
    del old["name"]
    said = ", ".join(f"{field} {value}" for field, value in old.items() if value is not None)
    return f"{rule.name} changed (was: {said})"


def _unknown(database: Path, name: str) -> str:
    return f"There is no alert {name!r} in {database}. See them with: wopr alerts list"
