"""The tables of all commands: titles, columns, and what gives way on a narrow terminal."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from wopr.cli.fitting import Column, Kind, Table


def _id(name: str = "id", drops: int = 0) -> Column:
    return Column(name, Kind.ID, drops=drops)


def _text(name: str, least: int, drops: int = 0) -> Column:
    return Column(name, Kind.TEXT, least, drops)


def _whole(name: str, drops: int = 0) -> Column:
    return Column(name, drops=drops)


TASKS = Table(
    "Tasks, newest first",
    (
        _id(),
        _text("name", 12),
        _text("category", 8, drops=1),
        _whole("priority", drops=4),
        _whole("status"),
        _whole("attempt", drops=5),
        _whole("created", drops=3),
        _text("note", 16, drops=2),
    ),
)
HISTORY = Table(
    "History, oldest first",
    (
        _whole("seq", drops=5),
        _whole("time"),
        _whole("attempt", drops=2),
        _whole("from", drops=4),
        _whole("to"),
        _text("reason", 7),
        _text("worker", 10, drops=6),
        _text("error", 16, drops=1),
    ),
)
COUNTS = Table(
    "Selected tasks",
    (_text("name", 12), _whole("status"), _whole("tasks"), _whole("would change")),
)
EXAMPLES = Table(
    "The first of them",
    (
        _id(),
        _text("name", 12),
        _text("category", 8, drops=1),
        _whole("priority", drops=3),
        _whole("status"),
        _whole("created", drops=2),
    ),
)
FLOWS = Table(
    "Flows, newest first",
    (
        _id(),
        _whole("tasks"),
        _whole("ended"),
        _whole("succeeded", drops=4),
        _whole("failed"),
        _whole("cancelled", drops=5),
        _whole("running", drops=3),
        _whole("waiting", drops=2),
        _whole("created", drops=1),
        _whole("completed", drops=6),
    ),
)
FLOW_TASKS = Table(
    "Its newest tasks",
    (
        _id(),
        _text("name", 12),
        _text("category", 8, drops=2),
        _whole("status"),
        _whole("attempt", drops=3),
        _text("note", 16, drops=1),
    ),
)
SCHEDULES = Table(
    "Schedules",
    (
        _text("name", 12),
        _text("task", 10, drops=3),
        _text("when", 12, drops=1),
        _text("state", 17),
        _whole("next", drops=2),
        _whole("last", drops=5),
        _whole("missed", drops=4),
        _whole("skipped", drops=6),
    ),
)
ALERTS = Table(
    "Alerts",
    (
        _text("name", 12),
        _whole("when"),
        _whole("threshold"),
        _text("task", 10, drops=2),
        _text("category", 10, drops=3),
        _whole("level", drops=1),
        _whole("every", drops=5),
        _text("emits", 8, drops=4),
    ),
)
TOKENS = Table(
    "Tokens",
    (
        _text("name", 12),
        _whole("role"),
        _whole("state"),
        _whole("created", drops=1),
        _whole("expires", drops=2),
    ),
)
LIMITS = Table(
    "Limits",
    (
        _text("category", 8),
        _text("task", 8, drops=1),
        _text("key", 8),
        _whole("concurrency"),
        _text("rate", 11),
        _text("fair by", 8, drops=3),
        _whole("aging", drops=4),
        _whole("backlog", drops=2),
        _whole("when full", drops=5),
        _text("declared", 8, drops=6),
    ),
)
PAUSES = Table(
    "What is paused",
    (
        _text("category", 9),
        _text("task", 9),
        _whole("since", drops=1),
        _text("by", 6, drops=2),
        _text("reason", 9),
    ),
)
REVOCATIONS = Table(
    "Standing revocations",
    (
        _text("task", 10),
        _text("where", 12),
        _whole("since", drops=2),
        _text("reason", 10, drops=1),
    ),
)
WORKERS = Table(
    "Workers",
    (
        _text("worker", 10),
        _text("category", 8, drops=2),
        _text("runs", 10),
        _id("task", drops=1),
        _whole("attempt", drops=4),
        _whole("since", drops=3),
        _whole("last claim", drops=6),
        _whole("heartbeat", drops=5),
    ),
)
ACTS = Table(
    "Acts, newest first",
    (
        _whole("act"),
        _whole("began", drops=2),
        _whole("verb"),
        _text("to", 14),
        _whole("changed"),
        _whole("ended", drops=5),
        _text("who", 8, drops=1),
        _text("from", 8, drops=6),
        _text("reason", 10, drops=3),
    ),
)
BY_STATUS = Table("By status", (_whole("status"), _whole("tasks")))
BY_CATEGORY = Table("By category", (_text("category", 12), _whole("tasks")))
BACKLOG = Table(
    "What waits",
    (
        _text("category", 10),
        _whole("priority", drops=2),
        _whole("status", drops=1),
        _whole("tasks"),
        _whole("due"),
        _whole("oldest"),
    ),
)
_STEP = (
    _whole("time"),
    _whole("arrivals"),
    _whole("ended"),
    _whole("failed", drops=3),
    _whole("success", drops=8),
    _whole("backlog"),
    _whole("oldest", drops=6),
    _whole("wait p50", drops=9),
    _whole("wait p95", drops=5),
    _whole("run p50", drops=10),
    _whole("run p95", drops=7),
)
SERIES = Table("Over time", _STEP)
SERIES_COMPARED = Table(
    "Over time, and a week before",
    (
        *_STEP,
        _whole("arrivals then", drops=1),
        _whole("ended then", drops=2),
        _whole("wait p95 then", drops=4),
    ),
)
PAST_BACKLOG = Table(
    "What waited and ran",
    (
        _text("category", 10),
        _whole("waiting"),
        _whole("due"),
        _whole("running", drops=1),
        _whole("oldest"),
    ),
)
WHATIF = Table(
    "How long tasks waited, and would have",
    (
        _text("category", 8),
        _whole(""),
        _whole("workers", drops=3),
        _text("limit", 8, drops=4),
        _whole("p50"),
        _whole("p95"),
        _whole("longest", drops=1),
        _whole("backlog", drops=2),
        _whole("per hour", drops=5),
    ),
)
SETTINGS = Table("Settings", (_text("setting", 20), _text("value", 12)))
ORIGINS = Table("Settings", (_text("setting", 16), _text("value", 10), _text("origin", 10)))
PROBLEMS = Table(
    "Problems",
    (
        _whole("task"),  # whole also where the file is damaged, and can't say which begin alike
        _text("problem", 7),
        _text("where", 12, drops=1),
        _text("expected", 8, drops=2),
        _text("found", 8, drops=3),
    ),
)
DEMO = Table(
    "What was done",
    (
        _text("category", 8),
        _whole("tasks"),
        _whole("attempts", drops=4),
        _whole("success"),
        _whole("failed"),
        _whole("p50 wait", drops=1),
        _whole("p95 wait", drops=2),
        _whole("p95 run", drops=3),
    ),
)
DEMO_FAILURES = Table("The files that do not parse", (_text("file", 16), _text("error", 16)))


def answer(names: Sequence[str], rows: Sequence[Sequence[object]], title: str) -> Table:
    """Return the table of a query's answer: ids are whole, the last columns are left out first."""
    first = rows[0] if rows else ()
    ids = {at for at, value in enumerate(first) if isinstance(value, UUID)}
    return Table(
        title,
        tuple(
            _whole(name, drops=at) if at in ids else _text(name, 8, drops=at)
            for at, name in enumerate(names)
        ),
    )
