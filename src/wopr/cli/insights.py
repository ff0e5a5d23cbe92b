"""``wopr stats`` and ``wopr sql``."""

from __future__ import annotations

import csv
import sys
from typing import Annotated, Any

import typer

from wopr.cli import tables
from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, with_queue
from wopr.cli.csvcells import cell
from wopr.cli.errors import UsageError
from wopr.cli.output import complain, document, plain, say, table
from wopr.domain.spoken import age, counted, local
from wopr.domain.status import TaskPriority
from wopr.domain.terminal import clean
from wopr.insights import queries
from wopr.ports.answers import QueryResult
from wopr.queue.queue import TaskQueue


def stats(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Count the tasks by status and category; show what waits, how long, and what holds it."""

    async def ask(queue: TaskQueue) -> dict[str, Any]:
        return {
            **await queue.get_task_stats(),
            "backlog": list(await queue.sql(queries.BACKLOG)),
            "pauses": await queue.pauses(),
            "limits": len(await queue.limits()),
        }

    found = with_queue(database, ask)
    if as_json:
        document(found)
        return
    waiting = f"{found['queued']:,} waiting, {found['running']:,} running"
    say(f"{counted(found['total'], 'task')}, {waiting}")
    if found["total"]:
        table(tables.BY_STATUS, sorted(found["by_status"].items()))
        table(tables.BY_CATEGORY, sorted(found["by_category"].items()))
    if found["backlog"]:
        table(tables.BACKLOG, [_backlog_row(row) for row in found["backlog"]])
    for held in found.get("held", ()):
        say(f"{held['text']} They wait; wopr tasks explain ID says more.")
    for pause in found["pauses"]:
        target = pause.category if pause.category is not None else f"--task {pause.task}"
        say(f"{pause.name} is paused {pause.told}. To go on: wopr resume {target}")
    if found["limits"]:
        say(f"Limits count; to see them: wopr limits list ({found['limits']})")


def _backlog_row(row: dict[str, Any]) -> tuple[object, ...]:
    return (
        row["category"],
        TaskPriority(row["priority"]).name,
        row["status"],
        row["tasks"],
        row["due"],
        age(row["oldest_age_seconds"]),
    )


def sql(
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="One SELECT; - reads it from stdin.")
    ],
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Ask the database one read-only question in SQL.

    Its times are UTC; a table shows them local, with their offset. A table cuts long values;
    --json and --csv print all of them. It is asked of a copy of the database, some seconds old
    at most, in a process of its own; standard error says of when.

    Tables: tasks, transitions, results, schedules, rules, acts, task_logs, refused_records, meta.
    Views: history, task_times, latency, backlog, dependencies, flows, schedule_runs, missed_times,
    failures.
    'describe tasks' lists the columns of one.
    """
    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other.")
    text = sys.stdin.read() if query == "-" else query
    if not text.strip():
        raise UsageError("The query is empty. For example: wopr sql 'select * from backlog'")
    result = with_queue(database, lambda queue: queue.typed_sql(text))
    if as_json:
        names = _distinct(result.columns)
        rows = [dict(zip(names, row, strict=True)) for row in result.rows]
        document({"columns": names, "rows": rows, "truncated": result.truncated})
    elif as_csv:
        _print_csv(result)
    else:
        form = tables.answer(result.columns, result.rows, counted(len(result), "row"))
        table(form, result.rows)
    complain(f"As of {local(result.moment)}.")
    if result.truncated:
        complain(
            f"Only the first {counted(len(result), 'row')}: there are more. Narrow the query, or "
            "allow more with WOPR_TASKS_QUERY_ROWS. All rows together may take 32 MB."
        )


def _distinct(names: tuple[str, ...]) -> list[str]:
    """Return the names with a number behind each that came before: JSON keys are unique."""
    found: list[str] = []
    for name in names:
        number, unique = 1, name
        while unique in found:
            number += 1
            unique = f"{name}_{number}"
        found.append(unique)
    return found


def _print_csv(result: QueryResult) -> None:
    """Write CSV as it is into files and pipes, without control characters on a terminal.

    What a spreadsheet would take for a formula gets a ``'`` before it.
    """
    on_terminal = sys.stdout.isatty()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(map(cell, result.columns))
    for row in result.rows:
        values = [cell(plain(value)) for value in row]
        writer.writerow([clean(value) for value in values] if on_terminal else values)
