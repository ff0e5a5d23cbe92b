"""``wopr stats`` and ``wopr sql``."""

from __future__ import annotations

import asyncio
import shlex
import sys
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from wopr.cli import tables
from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, with_queue
from wopr.cli.declared import Argument, Option
from wopr.cli.errors import UsageError
from wopr.cli.output import complain, document, say, table
from wopr.cli.past import At, past_of, print_counts, print_status
from wopr.cli.selections import when
from wopr.cli.writing import CSVRows, Form, distinct, write_all
from wopr.config.settings import Settings
from wopr.domain.address import Address, PostgresAddress
from wopr.domain.checks import check_query
from wopr.domain.clock import SystemClock
from wopr.domain.spoken import age, counted, local
from wopr.domain.status import TaskPriority
from wopr.domain.typed import WHEN
from wopr.insights import queries
from wopr.ports.answers import QueryResult
from wopr.ports.asof import PastStatus
from wopr.ports.cut import why_cut
from wopr.ports.storage import QueryLimits
from wopr.queue.queue import TaskQueue
from wopr.storage import ask_archive
from wopr.storage.together import ask_together

ArchivedAlone = Annotated[
    bool, Option("--archived", help="Ask the archive alone, in DuckDB's SQL (WOPR_TASKS_ARCHIVE).")
]
Together = Annotated[
    bool,
    Option("--together", help="Ask a database of PostgreSQL and the archive, in DuckDB's SQL."),
]
Since = Annotated[
    str | None,
    Option(metavar="WHEN", help=f"With --together: what is of that day or later: {WHEN}."),
]


def stats(at: At = None, database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Count the tasks by status and category; show what waits, how long, and what holds it."""
    if at is not None:
        _past_stats(at, database, as_json=as_json)
        return

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
    print_counts(found)
    if found["backlog"]:
        table(tables.BACKLOG, [_backlog_row(row) for row in found["backlog"]])
    for held in found.get("held", ()):
        say(f"{held['text']} They wait; wopr tasks explain ID says more.")
    for pause in found["pauses"]:
        target = shlex.quote(pause.category or pause.task or "")
        target = target if pause.category is not None else f"--task {target}"
        say(f"{pause.name} is paused {pause.told}. To go on: wopr resume {target}")
    if found["limits"]:
        say(f"Limits count; to see them: wopr limits list ({found['limits']})")


def _past_stats(at: str, database: Path, *, as_json: bool) -> None:
    async def ask(queue: TaskQueue) -> tuple[dict[str, Any], PastStatus]:
        past = past_of(queue, at)
        return await past.get_task_stats(), await past.status()

    counts, status = with_queue(database, ask)
    if as_json:
        rest = {"backlog": status.backlog, "pauses": status.pauses, "moment": status.moment}
        document({**counts, **rest})
        return
    print_counts(counts)
    print_status(status)


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
    query: Annotated[str, Argument(metavar="QUERY", help="One SELECT; - reads it from stdin.")],
    as_csv: Annotated[bool, Option("--csv", help="Print CSV.")] = False,
    as_parquet: Annotated[
        bool, Option("--parquet", help="Print all rows as a Parquet file.")
    ] = False,
    limit: Annotated[
        str | None,
        Option(
            metavar="N",
            help="Most rows, else WOPR_TASKS_QUERY_ROWS; none: all, with --csv or --json.",
        ),
    ] = None,
    archived: ArchivedAlone = False,
    together: Together = False,
    since: Since = None,
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

    Of a file, and with WOPR_TASKS_ARCHIVE, it is asked of both together. PostgreSQL can't read the
    archive: there --archived asks it by itself, and --together copies what the tables have first.
    """
    form = _form(as_csv=as_csv, as_json=as_json, as_parquet=as_parquet)
    rows = _limit(limit, form)
    text = sys.stdin.read() if query == "-" else query
    if not text.strip():
        raise UsageError("The query is empty. For example: wopr sql 'select * from backlog'")
    if archived or together or since is not None:
        home = _asked_together(database, archived=archived, together=together)
        _sql_of_archive(text, form, rows, home, since)
        return
    if rows is None:
        moment = with_queue(database, lambda queue: write_all(queue, text, form))
        _complain_of_archive(database)
        complain(f"As of {local(moment)}.")
        return
    result = with_queue(database, lambda queue: queue.typed_sql(text, limit=rows))
    _complain_of_archive(database)
    _print(result, form)
    if result.moment is not None:  # of a copy; a server is asked itself
        complain(f"As of {local(result.moment)}.")
    _complain_of_cut(result)


def _asked_together(database: Path, *, archived: bool, together: bool) -> PostgresAddress | None:
    """Return with which database the archive is asked; ``None``: alone."""
    if together == archived:
        raise UsageError(
            "--archived and --together exclude each other."
            if archived
            else "--since says how much --together copies. Else write it into the query."
        )
    if archived:
        return None
    if not isinstance(database, PostgresAddress):
        raise UsageError(
            f"--together is for a database of PostgreSQL, not {database}: a file is asked together "
            "with its archive in any case. Leave it out."
        )
    return database


def _sql_of_archive(
    text: str,
    form: Form,
    rows: int | Literal["setting"] | None,
    database: PostgresAddress | None,
    since: str | None,
) -> None:
    """Ask the archive: alone, or together with a database."""
    settings = Settings()
    archive = settings.archive
    if archive is None or not archive.is_dir():
        raise UsageError(
            f"There is no archive to ask: {archive or 'WOPR_TASKS_ARCHIVE is not set'}. Set it to "
            "the directory that `wopr archive` wrote."
        )
    if rows is None or form is Form.PARQUET:
        raise UsageError(
            "--archived and --together answer a number of rows: give --limit N, not --parquet."
        )
    most = settings.query_rows if rows == "setting" else rows
    first = None if since is None else _day(since)
    limits = QueryLimits(settings.query_seconds, most, archive=archive, since=first)
    text = check_query(text, ())
    if database is None:
        answer = ask_archive(text, limits, settings.memory_limit)
    else:
        answer = ask_together(database, text, limits, settings.memory_limit)
    result = QueryResult(asyncio.run(answer))
    _print(result, form)
    _complain_of_cut(result)
    if first is not None:
        complain(f"Of what was enqueued, happened or was logged on {first} (UTC) or later.")


def _day(since: str) -> date:
    moment = when(since, "--since")
    if isinstance(moment, timedelta):
        moment = SystemClock().now() - moment
    return moment.astimezone(UTC).date()


def _complain_of_cut(result: QueryResult) -> None:
    if result.cut is not None:
        complain(
            f"{why_cut(result.cut, len(result))} Narrow the query, or allow more with --limit N; "
            "all of them: --limit none with --csv or --json, or --parquet."
        )


def _complain_of_archive(database: Path) -> None:
    """Say so if what was to be asked together with the file is not there, or can't be."""
    archive = Settings().archive
    if isinstance(database, PostgresAddress) and archive is not None:
        complain(f"Of the tables alone; with the archive at {archive}: wopr sql --together")
    if isinstance(database, Address):
        return
    if archive is not None and not archive.is_dir():
        complain(f"There is no archive at {archive} (WOPR_TASKS_ARCHIVE): that is without one.")


def _print(result: QueryResult, form: Form) -> None:
    if form is Form.JSON:
        names = distinct(result.columns)
        found = [dict(zip(names, row, strict=True)) for row in result.rows]
        document({"columns": names, "rows": found, "truncated": result.truncated})
    elif form is Form.CSV:
        csv = CSVRows(result.columns)
        for row in result.rows:
            csv.add(row)
    else:
        shown = tables.answer(result.columns, result.rows, counted(len(result), "row"))
        table(shown, result.rows)


def _form(*, as_csv: bool, as_json: bool, as_parquet: bool) -> Form:
    asked = {Form.CSV: as_csv, Form.JSON: as_json, Form.PARQUET: as_parquet}
    forms = [form for form, given in asked.items() if given]
    if len(forms) > 1:
        raise UsageError(f"--{forms[0]} and --{forms[1]} exclude each other.")
    return forms[0] if forms else Form.TABLE


def _limit(text: str | None, form: Form) -> int | Literal["setting"] | None:
    """Return what ``--limit`` says; ``None``: all rows."""
    if form is Form.PARQUET and text not in (None, "none"):
        raise UsageError("--parquet prints all rows there are. Give the query a LIMIT of its own.")
    if text == "none" and form is Form.TABLE:
        raise UsageError(
            "A table is laid out when all its rows are there: --csv, --json, --parquet."
        )
    if form is Form.PARQUET or text == "none":
        return None
    if text is None:
        return "setting"
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:12]) <= 1_000_000_000:
        raise UsageError(
            f"--limit takes a number from 1 to 1,000,000,000, or none, not {text!r:.80}."
        )
    return int(text)
