"""``wopr cleanup``, ``archive``, ``compact``, ``doctor`` and ``db``: keep the file in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from click.exceptions import Exit

from wopr.cli import serverdb, tables
from wopr.cli.backup import at_rest
from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, require_file, with_queue
from wopr.cli.declared import Argument, Group, Option
from wopr.cli.errors import NO, UsageError
from wopr.cli.output import complain, document, say, table
from wopr.cli.progress import Progress
from wopr.config.settings import Settings
from wopr.domain.address import PostgresAddress
from wopr.domain.clock import SystemClock, naive_now
from wopr.domain.examination import Report
from wopr.domain.spoken import counted, local, size
from wopr.insights import queries
from wopr.queue.queue import TaskQueue

MOST = 100_000  # of a period, as in cleanup_old_tasks
LONGEST_DAYS = 700_000  # the calendar begins some later

Days = Annotated[int | None, Option("--days", min=0, max=MOST, help="Older than so many days.")]
Months = Annotated[int | None, Option("--months", min=0, max=MOST, help="... of 30 days.")]
Years = Annotated[int | None, Option("--years", min=0, max=MOST, help="... of 365 days.")]


def cleanup(
    days: Days = None,
    months: Months = None,
    years: Years = None,
    keep_history: Annotated[
        bool, Option("--keep-history", help="Delete the tasks, keep their transitions.")
    ] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Only count what would be deleted.")] = False,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Delete tasks that ended so long ago. The periods add up; --days 0 means all that ended."""
    before = _before(days, months, years)

    async def work(queue: TaskQueue) -> int:
        total = int((await queue.sql(queries.ENDED_BEFORE, before)).scalar())
        if dry_run:
            return total
        with Progress("Deleting", hidden=as_json) as progress:
            deleting = asyncio.create_task(
                queue.cleanup_old_tasks(days, months, years, keep_history=keep_history)
            )
            while progress.shown and not (await asyncio.wait({deleting}, timeout=0.5))[0]:
                left = (await queue.sql(queries.ENDED_BEFORE, before)).scalar()
                progress.show(total - int(left), total)
            return await deleting

    count = with_queue(database, work)
    if as_json:
        document({"deleted": 0 if dry_run else count, "found": count, "dry_run": dry_run})
    else:
        say(f"{counted(count, 'task')} {'would be deleted' if dry_run else 'deleted'}.")


def archive(
    directory: Annotated[
        Path | None,
        Argument(metavar="[DIR]", help="The archive; WOPR_TASKS_ARCHIVE without."),
    ] = None,
    days: Days = None,
    months: Months = None,
    years: Years = None,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Only count what would be archived.")
    ] = False,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Write tasks that ended so long ago as Parquet files, then delete them from the database.

    Questions span both where WOPR_TASKS_ARCHIVE is set. It can be broken off and repeated at any
    time. The periods add up; --days 0 means all that ended.
    """
    before = _before(days, months, years)
    settings = Settings() if directory is None else Settings(archive=directory)

    async def work(queue: TaskQueue) -> int:
        if dry_run:
            return int((await queue.sql(queries.ENDED_BEFORE, before)).scalar())
        return await queue.archive_old_tasks(days, months, years, directory=settings.archive)

    with Progress("Archiving", hidden=as_json):
        count = with_queue(database, work, settings)
    if as_json:
        document({"archived": 0 if dry_run else count, "found": count, "dry_run": dry_run})
        return
    say(f"{counted(count, 'task')} {'would be archived' if dry_run else 'archived'}.")
    if directory is not None and settings.archive != Settings().archive:
        complain(f"For questions to span it, set WOPR_TASKS_ARCHIVE={directory.absolute()}")


def _before(days: int | None, months: int | None, years: int | None) -> datetime:
    if days is None and months is None and years is None:
        raise UsageError("Say how old: --days N, --months N or --years N. They add up.")
    period = (days or 0) + 30 * (months or 0) + 365 * (years or 0)
    return naive_now(SystemClock()) - timedelta(days=min(period, LONGEST_DAYS))


def compact(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Give the space of deleted tasks back to the disk. Needs the file for itself."""
    from wopr.storage.duckdb.compact import compact as run

    require_file(database)
    with Progress("Compacting", hidden=as_json) as progress:
        before, after = run(
            database,
            lambda message: progress.show(text=message.rstrip(".")),
            memory_limit=Settings().memory_limit,
        )
    if as_json:
        document({"bytes_before": before, "bytes_after": after})
    else:
        say(f"{size(before)} before, {size(after)} after.")


def doctor(
    limit: Annotated[int, Option("--limit", min=1, help="List so many problems.")] = 1_000,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Check that every task is what its history says; beside a running queue, in a copy of it.

    On PostgreSQL, in a transaction that only reads: it sees one moment, and holds nobody up.
    """
    with Progress("Checking transitions", hidden=as_json) as progress:
        report, moment = _examined(database, progress.show, limit)
    if as_json:
        document(
            {
                "moment": moment,
                "clean": report.clean,
                "tasks": report.tasks,
                "transitions": report.transitions,
                "problems": report.problems,
                "unlisted": report.unlisted,
            }
        )
    else:
        rows = [
            (item.task_id, item.kind, item.text, repr(item.expected), repr(item.actual))
            for item in report.problems
        ]
        tasks, moves = counted(report.tasks, "task"), counted(report.transitions, "transition")
        _print_report(f"{tasks} and {moves} checked", rows, report.unlisted)
        if not isinstance(database, PostgresAddress):
            _of_a_copy(moment)
    if not report.clean:
        raise Exit(NO)


def _examined(
    database: Path, progress: Callable[[int, int], None], limit: int
) -> tuple[Report, datetime | None]:
    """Return what is wrong, and of when that is, if not of now."""
    if isinstance(database, PostgresAddress):
        from wopr.storage.postgres.doctor import check

        return check(database, progress=progress, limit=limit)
    from wopr.storage.duckdb.doctor import check as examine

    memory = Settings().memory_limit
    return at_rest(
        database, lambda path: examine(path, progress=progress, limit=limit, memory_limit=memory)
    )


def _print_report(checked: str, problems: Sequence[Sequence[object]], unlisted: int) -> None:
    if not problems:
        say(f"{checked}: all is well.")
        return
    table(tables.PROBLEMS, problems)
    count = len(problems) + unlisted
    say(f"{checked}: {counted(count, 'problem')} found.")
    if unlisted:
        say(f"{unlisted} of them are not listed; show more with --limit.")
    say("Keep a copy before anything else is done: wopr backup, or pg_dump on PostgreSQL.")


db = Group("db", help="Look after the schema of the file.")


@db.command()
def upgrade(
    plan: Annotated[
        bool, Option("--plan", help="Only say what it would do; changes nothing.")
    ] = False,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Bring the file to the newest schema. A copy of the old one is kept beside it.

    It needs the file for itself; with --plan it says beside a running queue, too, what is to come.
    Tables on PostgreSQL are upgraded in one transaction, beside hosts at work; pg_dump copies them.
    """
    if plan:
        _print_plan(database, as_json=as_json)
        return
    before, after = _upgraded(database)
    if as_json:
        document({"before": before, "after": after})
    elif before == after:
        say(f"{database} has the newest schema already: {after}.")
    else:
        say(f"{database} upgraded from schema {before or 'of another program'} to {after}.")


def _upgraded(database: Path) -> tuple[str | None, str | None]:
    if isinstance(database, PostgresAddress):
        return serverdb.upgrade(database)
    from wopr.storage.duckdb.file import migrate
    from wopr.storage.duckdb.start import open_settled

    require_file(database)
    before = migrate.current(database)
    open_settled(database).close()
    return before, migrate.current(database)


def _revisions(database: Path) -> tuple[str | None, dict[str, str], datetime | None]:
    """Return the revision, what each known one brings, and of when that is, if of a copy."""
    if isinstance(database, PostgresAddress):
        return *serverdb.current(database), None
    from wopr.storage.duckdb.file import migrate

    found, moment = at_rest(database, migrate.current)
    return found, migrate.summaries(), moment


def _print_plan(database: Path, *, as_json: bool) -> None:
    found, known, moment = _revisions(database)
    on_server = isinstance(database, PostgresAddress)
    lacks = found is not None or on_server
    missing = {one: text for one, text in known.items() if lacks and one > (found or "")}
    copy = f"{database.name}.backup-{found}" if missing and not on_server else None
    if as_json:
        steps = [{"revision": one, "summary": text} for one, text in missing.items()]
        document({"current": found, "newest": list(known)[-1], "steps": steps, "copy": copy})
    elif found is None and not on_server:
        say(f"{database} is of another program: it would be taken over, after a copy.")
    elif found is not None and found not in known:
        say(f"{database} has schema {found}, which this wopr does not know: a newer one wrote it.")
    elif not missing:
        say(f"{database} has the newest schema already: {found}.")
    else:
        say(
            f"{database} has schema {found or 'of no queue'}. "
            + (f"It would be copied to {copy}, then:" if copy else "In one transaction:")
        )
        for one, text in missing.items():
            say(f"{one}  {text}")
    if not as_json:
        _of_a_copy(moment)


@db.command()
def current(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Show the schema of the file, or the tables, and the newest one. Changes nothing."""
    found, known, moment = _revisions(database)
    newest = list(known)[-1]
    if as_json:
        document({"current": found, "newest": newest})
    else:
        say(f"{found or 'none of wopr'} (newest: {newest})")
        _of_a_copy(moment)


@db.command()
def history(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """List the revisions of the schema, and which of them the file, or the tables, have."""
    found, known, moment = _revisions(database)
    rows = [(one, text, found is not None and one <= found) for one, text in known.items()]
    if as_json:
        fields = ("revision", "summary", "applied")
        document(
            {"current": found, "revisions": [dict(zip(fields, row, strict=True)) for row in rows]}
        )
        return
    for one, text, applied in rows:
        say(f"{one}  {'' if applied else '(to come) '}{text}")
    _of_a_copy(moment)


@db.command()
def check(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Compare the tables and views of the file, or on the server, with what they should be."""
    differences, moment = _differences(database)
    if as_json:
        document({"differences": differences})
    elif differences:
        for difference in differences:
            say(difference)
    else:
        say("The schema is as it should be.")
    if not as_json:
        _of_a_copy(moment)
    if differences:
        raise Exit(NO)


def _differences(database: Path) -> tuple[list[str], datetime | None]:
    if isinstance(database, PostgresAddress):
        return serverdb.check(database), None
    from wopr.storage.duckdb.file import migrate

    return at_rest(database, migrate.check)


def _of_a_copy(moment: datetime | None) -> None:
    """Say so if a copy was looked at, because a process has the file open."""
    if moment is not None:
        complain(f"A process has the file open, so that is of a copy as of {local(moment)}.")


@db.command()
def accept(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Go on with the file as it is, when it is refused because its journal is lost or newer.

    For a backup that was put back, or a copy without its journal. What was acknowledged and
    is not in the file is given up; the journal is set aside, not deleted.
    """
    from wopr.storage.duckdb.accept import accept as run

    accepted = run(database)
    if as_json:
        document({"position": accepted.position, "moved": [str(one) for one in accepted.moved]})
        return
    say(f"{database} counts as it is now, up to record {accepted.position} of its journal.")
    for one in accepted.moved:
        say(f"Set aside: {one}")
