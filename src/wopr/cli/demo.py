"""``wopr demo``: show the demo's progress and what it proves; or make up a week of history."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import click
from click.exceptions import Exit

from wopr.cli import tables
from wopr.cli.common import AsJson
from wopr.cli.declared import Option
from wopr.cli.errors import NO, UsageError
from wopr.cli.output import document, say, table
from wopr.cli.progress import Progress
from wopr.demo import history, run
from wopr.demo.proof import Outcome
from wopr.domain.clock import SystemClock
from wopr.domain.spoken import age, counted, local
from wopr.storage import check_name

LINE_SECONDS = 2.0
"""Beside a terminal, so often a line tells the progress."""

Source = Annotated[
    Path | None,
    Option(
        "--source",
        metavar="FOLDER",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Process the Python files of this folder. Default: a sample of Python's own library.",
    ),
]
Files = Annotated[
    int | None,
    Option(
        "--files",
        min=1,
        help=f"Process at most so many files. Default: {run.SAMPLE} of Python's own library, or "
        "all of a folder that you name.",
    ),
]
NewDatabase = Annotated[
    Path | None,
    Option("--database", "-d", metavar="PATH", help="Keep the queue in this new file, to look at."),
]
History = Annotated[
    bool,
    Option(
        "--history",
        help="Make up the last week of a shop's queue instead, in the file of --database.",
    ),
]
Tasks = Annotated[
    int | None,
    Option(
        "--tasks",
        min=3_000,
        max=1_000_000,
        help=f"With --history: about so many tasks. Default: {history.TASKS:,}.",
    ),
]
Seed = Annotated[
    int | None,
    Option("--seed", help=f"With --history: of all chance in it. Default: {history.SEED}."),
]
SHOP = "wopr.demo.shopqueue:queue"


def demo(
    source: Source = None,
    files: Files = None,
    database: NewDatabase = None,
    history: History = False,
    tasks: Tasks = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Process real files, lose the worker to SIGKILL half-way, and prove nothing was lost.

    Exit code 1 if the proof fails. With --history: make up a week of a shop's queue, with
    failures, retries, flows, schedules, pauses and acts, to look around in.
    """
    if database is not None:
        _check_new(database)
    if history:
        if source is not None or files is not None:
            raise UsageError("--source and --files are of the demo that processes real files.")
        _history(database, tasks, seed, as_json=as_json)
        return
    if tasks is not None or seed is not None:
        raise UsageError("--tasks and --seed are of the made-up week: add --history.")
    place = contextlib.nullcontext(database) if database else run.temporary_database()
    with place as path, _view(as_json=as_json) as view:
        outcome = run.Demo(
            source=source or run.standard_library(),
            database=path.absolute(),
            limit=files or (run.SAMPLE if source is None else None),
            on_progress=view.progress,
            on_event=view.event,
        ).run()
    if as_json:
        document({"proven": outcome.proven, **vars_of(outcome)})
    else:
        _print(outcome)
        if database is not None:
            say(f"Look around: wopr tasks list --status failed -d {database}")
    if not outcome.proven:
        raise Exit(NO)


def _check_new(database: Path) -> None:
    check_name(str(database))  # an address, which has no place in a directory of this name
    if os.path.lexists(database):
        raise UsageError(f"{database} exists. The demo needs a new file: name another one.")


def _history(database: Path | None, tasks: int | None, seed: int | None, *, as_json: bool) -> None:
    if database is None:
        raise UsageError("--history makes a file to look around in: name it with --database PATH.")
    made = asyncio.run(
        history.write_history(
            database.absolute(),
            tasks=history.TASKS if tasks is None else tasks,
            seed=history.SEED if seed is None else seed,
        )
    )
    if as_json:
        document({name: getattr(made, name) for name in history.Written.__slots__})
        return
    where = shlex.quote(str(database))
    say(
        f"{counted(made.tasks, 'task')} with {counted(made.transitions, 'transition')} in "
        f"{database}, from {local(made.begin)} to now."
    )
    say(f"Look around: wopr status -d {where}")
    say(f"Go on with it: wopr worker {SHOP} -d {where}")


def vars_of(outcome: Outcome) -> dict[str, object]:
    """Return the fields of the outcome by name."""
    return {name: getattr(outcome, name) for name in Outcome.__slots__}


class _Silent:
    """Shows nothing: the JSON document comes at the end."""

    def progress(self, progress: run.Progress) -> None:
        """Show how far the work is."""

    def event(self, text: str) -> None:
        """Show that something happened."""


class _Lines(_Silent):
    """Shows lines, in a log or a pipe."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._next = 0.0

    def progress(self, progress: run.Progress) -> None:
        """Print a line every few seconds."""
        now = self._clock.monotonic()
        if now >= self._next:
            self._next = now + LINE_SECONDS
            say(_how_far(progress))

    def event(self, text: str) -> None:
        """Print a line."""
        say(text)


class _OneLine(_Silent):
    """Shows one line on a terminal, which changes."""

    def __init__(self, line: Progress) -> None:
        self._line = line

    def progress(self, progress: run.Progress) -> None:
        """Write it anew."""
        self._line.write(_how_far(progress))

    def event(self, text: str) -> None:
        """Print a line above it."""
        self._line.clear()
        say(text)


def _how_far(progress: run.Progress) -> str:
    parts = [
        f"{category} {progress.done(category)}/{progress.total(category)} ({_details(counts)})"
        for category, counts in sorted(progress.counts.items(), reverse=True)
    ]
    return f"{progress.fraction:4.0%}  {', '.join(parts)}"


def _details(counts: dict[str, int]) -> str:
    words = {"started": "running", "pending": "waiting", "retry": "to retry", "failed": "failed"}
    parts = [f"{counts[status]} {word}" for status, word in words.items() if counts.get(status)]
    return ", ".join(parts) or "idle"


@contextlib.contextmanager
def _view(*, as_json: bool) -> Iterator[_Silent]:
    if as_json or not sys.stdout.isatty():
        yield _Silent() if as_json else _Lines()
        return
    with Progress("Reading", out=sys.stdout) as line:
        yield _OneLine(line)


def _say_what_limits(outcome: Outcome) -> None:
    if outcome.queue_tasks_per_second:
        say(
            f"What limits that is the work: reading and parsing took {outcome.run_seconds:.1f} s, "
            "several tasks at once in one Python process, which computes one at a time. The queue "
            f"alone: {outcome.queue_tasks_per_second:,.0f} tasks per second, of tasks that do "
            "nothing, enqueued, run and stored with result and history."
        )


def _print(outcome: Outcome) -> None:
    for item in outcome.checks:
        say(f"{'ok    ' if item.passed else 'FAILED'}  {item.name} ({item.detail})")
    say("")
    rows = [
        (
            *(row[name] for name in ("category", "tasks", "attempts", "succeeded", "failed")),
            *(age(row[name]) for name in ("wait_p50", "wait_p95", "run_p95")),
        )
        for row in outcome.categories
    ]
    table(tables.DEMO, rows)
    say(
        f"{outcome.tasks_per_second:,.0f} tasks per second in {age(outcome.seconds)}, "
        f"{counted(outcome.retries, 'retry', 'retries')}, "
        f"{counted(outcome.interrupted, 'attempt')} interrupted by the kill."
    )
    _say_what_limits(outcome)
    if outcome.report is not None:
        found = outcome.report
        say(
            f"The report, written when {counted(found['files'], 'scan')} had succeeded: "
            f"{counted(found['lines'], 'line')}, {counted(found['bytes'], 'byte')}."
        )
    if outcome.failures:
        say("")
        failed = [(Path(row["path"] or "").name, row["error"]) for row in outcome.failures]
        table(tables.DEMO_FAILURES, failed)
    if not outcome.killed:
        say("The work was done before the worker could be killed: process more files.")
    say("Proven: every file was done, none was lost." if outcome.proven else "Not proven!")
