"""``wopr move``: from a file to PostgreSQL, or back, while the queue works."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import Annotated

from wopr.cli.common import AsJson, require_file
from wopr.cli.declared import Option
from wopr.cli.kinds import FileName
from wopr.cli.output import document, say
from wopr.cli.progress import Progress
from wopr.config.settings import Settings
from wopr.domain.address import Address, database_of
from wopr.domain.spoken import counted
from wopr.moving.move import GRACE_SECONDS
from wopr.moving.move import move as run

Source = Annotated[
    Path,
    Option(
        "--from",
        metavar="HOME",
        type=FileName(database_of),
        help="Where the queue is: a file, or postgresql://….",
    ),
]
Target = Annotated[
    Path,
    Option(
        "--to",
        metavar="HOME",
        type=FileName(database_of),
        help="Where it is to be: the other one of the two.",
    ),
]
Grace = Annotated[
    float,
    Option("--grace", min=0, max=3_600, help="Let what runs end for so many seconds."),
]


def move(
    source: Source, target: Target, grace: Grace = GRACE_SECONDS, as_json: AsJson = False
) -> None:
    """Move a queue to another home while it works: from a file to PostgreSQL, or back.

    Everything is copied beside the work, then the work pauses, and the rest follows. Broken off,
    it can be run again, and goes on. Until it has ended, the queue is where it was.
    """
    if not isinstance(source, Address):
        require_file(source)
    with Progress("Moving", hidden=as_json) as progress:
        moved = asyncio.run(
            run(
                source,
                target,
                Settings(),
                grace=grace,
                tell=lambda what, done, total: progress.show(done, total, what),
            )
        )
    if as_json:
        document(moved)
        return
    rows = [counted(moved.tasks, "task"), counted(moved.transitions, "transition")]
    say(f"{moved.target}: {', '.join([*rows, counted(moved.logs, 'log line')])}.")
    say(
        f"Compared row by row: {counted(moved.days, 'day')}. Work paused for "
        f"{moved.paused_seconds:.1f} s."
    )
    say(f"The queue has left {moved.source}. Set WOPR_TASKS_DATABASE={shlex.quote(moved.target)}")
