"""``wopr series``: what happened over time."""

from __future__ import annotations

from typing import Annotated

from wopr.cli import tables
from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, with_queue
from wopr.cli.declared import Option
from wopr.cli.errors import UsageError
from wopr.cli.output import document, say, table
from wopr.cli.selections import Categories, Names, when
from wopr.domain.spoken import age, counted, local
from wopr.ports.series import Point, Resolution

By = Annotated[Resolution, Option("--by", help="How long a step is; in UTC.")]
Since = Annotated[
    str | None,
    Option(
        "--since",
        metavar="WHEN",
        help="The first moment: 2h, 7d, or a time with its zone. Default: an hour of minutes, a "
        "day of hours, two weeks of days.",
    ),
]
Until = Annotated[str | None, Option("--until", metavar="WHEN", help="The last one. Default: now.")]
Split = Annotated[
    str | None,
    Option("--split", metavar="category|name", help="A series for each of them."),
]
Compare = Annotated[bool, Option("--compare", help="Beside it the same steps of a week before.")]


def series(
    by: By = Resolution.HOUR,
    since: Since = None,
    until: Until = None,
    category: Categories = None,
    name: Names = None,
    split: Split = None,
    compare: Compare = False,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Show what happened over time: arrivals, outcomes, backlog and its age, waits and runs."""
    if split not in (None, "category", "name"):
        raise UsageError(f"--split takes category or name, not {split!r:.80}.")
    found = with_queue(
        database,
        lambda queue: queue.series(
            by,
            since=None if since is None else when(since, "--since"),
            until=None if until is None else when(until, "--until"),
            category=category,
            name=name,
            split="category" if split == "category" else "name" if split else None,
            compare=compare,
        ),
    )
    if as_json:
        document(found)
        return
    for one in found.series:
        if split is not None:
            say(f"{split} {one.part}")
        before = one.week_before or (None,) * len(one.points)
        rows = [_row(*pair) for pair in zip(one.points, before, strict=True)]
        table(tables.SERIES_COMPARED if compare else tables.SERIES, rows)
    if found.left_out:
        say(f"Left out, with the fewest tasks: {counted(found.left_out, 'series', 'series')}.")
    for note in found.notes if "run_p50" in found.approximate else ():
        say(note)


def _row(point: Point, before: Point | None) -> tuple[object, ...]:
    rate = "" if point.success_rate is None else f"{point.success_rate:.1%}"
    then = () if before is None else (before.arrivals, _ended(before), age(before.wait_p95))
    return (
        local(point.at, timespec="minutes"),
        point.arrivals,
        _ended(point),
        point.failed,
        rate,
        point.backlog,
        age(point.backlog_age),
        age(point.wait_p50),
        age(point.wait_p95),
        age(point.run_p50),
        age(point.run_p95),
        *then,
    )


def _ended(point: Point) -> int:
    return point.succeeded + point.failed + point.cancelled
