"""The ``wopr`` command: puts the commands together."""

from __future__ import annotations

import contextlib
import io
import sys

import click
from click.exceptions import Exit

from wopr import __version__
from wopr.cli.completion import COMPLETION
from wopr.cli.errors import EXIT_CODES, Commands
from wopr.cli.later import Later
from wopr.cli.output import say

COMMANDS = (
    (
        "demo",
        "wopr.cli.demo:demo",
        "Process real files, lose the worker to SIGKILL half-way, and prove nothing was lost.",
    ),
    (
        "init",
        "wopr.cli.init:init",
        "Write a new project: a worker that calls an HTTP API on schedule.",
    ),
    ("worker", "wopr.cli.worker:worker", "Run the tasks of a queue until SIGTERM or Ctrl-C."),
    ("web", "wopr.cli.web:web", "Serve the dashboard and the REST API until Ctrl-C or SIGTERM."),
    ("workers", "wopr.cli.workers:app", "Look at the workers."),
    ("config", "wopr.cli.config:app", "Look at the settings."),
    ("tasks", "wopr.cli.tasks:app", "Look at tasks and change them."),
    ("schedules", "wopr.cli.schedules:app", "Look at schedules and change them."),
    ("alerts", "wopr.cli.alerts:app", "Look at alerts and change them."),
    ("token", "wopr.cli.token:app", "Say who gets in over HTTP, and with which role."),
    ("flows", "wopr.cli.flows:app", "Look at flows of tasks and cancel them."),
    ("limits", "wopr.cli.controls:limits", "Look at limits and change them."),
    (
        "pause",
        "wopr.cli.controls:pause",
        "Start no more tasks of a category, or of a name, until `resume`. "
        "Alone: list what is paused.",
    ),
    ("resume", "wopr.cli.controls:resume", "Start tasks of a category, or of a name, again."),
    (
        "revoke",
        "wopr.cli.controls:revoke",
        "Cancel waiting and running tasks by name and arguments. Alone: list standing revocations.",
    ),
    (
        "status",
        "wopr.cli.status:status",
        "Say whether work flows; if not, why, the most harmful reason first, and what mends it.",
    ),
    (
        "top",
        "wopr.cli.top:top",
        "Watch what flows, what does not and why, and act on it: pause, cancel, retry, undo.",
    ),
    (
        "mcp",
        "wopr.cli.mcp:mcp",
        "Answer an assistant over MCP, on standard input and output or over HTTP.",
    ),
    (
        "explain",
        "wopr.cli.status:explain",
        "Say why a task stands where it stands; "
        "or those of a category, a name, a flow, a schedule.",
    ),
    (
        "acts",
        "wopr.cli.acts:acts",
        "List what operators did, newest first: who, from where, when, to what and why.",
    ),
    (
        "undo",
        "wopr.cli.acts:undo",
        "Take back what can be of an act: of tasks that have not run since; say what can't.",
    ),
    (
        "stats",
        "wopr.cli.insights:stats",
        "Count the tasks by status and category; show what waits, how long, and what holds it.",
    ),
    (
        "series",
        "wopr.cli.series:series",
        "Show what happened over time: arrivals, outcomes, backlog and its age, waits and runs.",
    ),
    (
        "eta",
        "wopr.cli.eta:eta",
        "Say when the tasks that wait and run now will be done, or why never.",
    ),
    (
        "whatif",
        "wopr.cli.whatif:whatif",
        "Say how long tasks would have waited with other workers or limits, beside what was.",
    ),
    (
        "sql",
        "wopr.cli.insights:sql",
        "Ask the database one read-only question in SQL.",
    ),
    (
        "cleanup",
        "wopr.cli.upkeep:cleanup",
        "Delete tasks that ended so long ago. The periods add up; --days 0 means all that ended.",
    ),
    (
        "archive",
        "wopr.cli.upkeep:archive",
        "Write tasks that ended so long ago as Parquet files, then delete them from the database.",
    ),
    (
        "backup",
        "wopr.cli.backup:backup",
        "Make one complete file of the database, of one moment; a queue that is open goes on.",
    ),
    (
        "restore",
        "wopr.cli.backup:restore",
        "Put a backup in the place of the database, once the doctor has seen it.",
    ),
    (
        "export",
        "wopr.cli.backup:export",
        "Write tasks, transitions and logs, of one moment, as Parquet files by day.",
    ),
    (
        "move",
        "wopr.cli.move:move",
        "Move a queue to another home while it works: from a file to PostgreSQL, or back.",
    ),
    ("db", "wopr.cli.upkeep:db", "Look after the schema of the file."),
    (
        "doctor",
        "wopr.cli.upkeep:doctor",
        "Check that every task is what its history says; beside a running queue, in a copy of it.",
    ),
    (
        "compact",
        "wopr.cli.upkeep:compact",
        "Give the space of deleted tasks back to the disk. Needs the file for itself.",
    ),
)
"""Of each command its name, where it is, and the first paragraph of its help.

None is loaded before it is called, so that ``wopr --help`` need not wait for them.
"""


def _version(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    if wanted:
        say(f"wopr {__version__}")
        raise Exit


app = Commands(
    "wopr",
    help="A persistent job queue on DuckDB.",
    epilog=EXIT_CODES,
    commands=[Later(*command) for command in COMMANDS],
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_version,
            help="Show the version.",
        ),
        *COMPLETION,
    ],
)


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that can't show a letter shows "?"
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors="replace")
    app()
