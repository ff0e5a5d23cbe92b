"""The ``wopr`` command: puts the commands together."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Annotated

import typer

from wopr import __version__
from wopr.cli import (
    acts,
    alerts,
    backup,
    config,
    controls,
    demo,
    flows,
    init,
    insights,
    schedules,
    status,
    tasks,
    upkeep,
    worker,
    workers,
)
from wopr.cli.errors import EXIT_CODES, Commands
from wopr.cli.output import say

app = typer.Typer(
    name="wopr",
    cls=Commands,
    help="A persistent job queue on DuckDB.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"wopr {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Look at, change and run the tasks of a wopr database."""


app.command()(demo.demo)
app.command()(init.init)
app.command()(worker.worker)
app.add_typer(workers.app)
app.add_typer(config.app)
app.add_typer(tasks.app)
app.add_typer(schedules.app)
app.add_typer(alerts.app)
app.add_typer(flows.app)
app.add_typer(controls.limits)
app.command()(controls.pause)
app.command()(controls.resume)
app.command()(controls.revoke)
app.command()(status.status)
app.command()(status.explain)
app.command()(acts.acts)
app.command()(acts.undo)
app.command()(insights.stats)
app.command()(insights.sql)
app.command()(upkeep.cleanup)
app.command()(backup.backup)
app.command()(backup.restore)
app.add_typer(upkeep.db)
app.command()(upkeep.doctor)
app.command()(upkeep.compact)


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that can't show a letter shows "?"
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors="replace")
    app()
