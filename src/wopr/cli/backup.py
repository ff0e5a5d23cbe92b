"""``wopr backup``, ``restore`` and ``export``: all of it as one file or many, beside work."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, TypeVar

from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, require_file, with_queue
from wopr.cli.declared import Argument, Option
from wopr.cli.output import document, say
from wopr.config.settings import Settings
from wopr.domain.errors import StorageOwnedError
from wopr.domain.spoken import counted, local, size
from wopr.ports.backup import Backup
from wopr.queue.queue import TaskQueue
from wopr.storage import restore as put_back

T = TypeVar("T")


def backup(
    file: Annotated[Path, Argument(metavar="FILE", help="The new file.")],
    verify: Annotated[
        bool, Option("--verify", help="Open it and run the doctor before it is put there.")
    ] = False,
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace a file that is there, in one step.")
    ] = False,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Make one complete file of the database, of one moment; a queue that is open goes on."""
    require_file(database)
    made = _make(database, file, verify=verify, overwrite=overwrite)
    if as_json:
        document(made)
        return
    tasks, moves = counted(made.tasks, "task"), counted(made.transitions, "transition")
    checked = ", checked" if made.verified else ""
    say(f"{made.path}: {tasks} and {moves}{checked}, {size(made.bytes)}.")
    say(f"As of {local(made.moment)}. To put it back: wopr restore {made.path}")


def _make(database: Path, file: Path, *, verify: bool = False, overwrite: bool = False) -> Backup:
    async def make() -> Backup:
        queue = TaskQueue(enabled=True, database=database)
        try:
            return await queue.backup(file, verify=verify, overwrite=overwrite)
        finally:
            await queue.shutdown()

    return asyncio.run(make())


def export(
    directory: Annotated[Path, Argument(metavar="DIR", help="The new directory.")],
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace an export that is there.")
    ] = False,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Write tasks, transitions and logs, of one moment, as Parquet files by day.

    A queue that is open goes on. The directory appears when it is complete.
    """
    made = with_queue(database, lambda queue: queue.export(directory, overwrite=overwrite))
    if as_json:
        document(made)
        return
    rows = [counted(made.tasks, "task"), counted(made.transitions, "transition")]
    say(f"{made.path}: {', '.join([*rows, counted(made.logs, 'log line')])}, {size(made.bytes)}.")
    say(f"As of {local(made.moment)}.")


def at_rest(database: Path, look: Callable[[Path], T]) -> tuple[T, datetime | None]:
    """Return what somebody sees in a file that nobody has open; of when, if it is a copy.

    Where a process has the database open, a copy is made that is looked at instead, and deleted.
    """
    require_file(database)
    try:
        return look(database), None
    except StorageOwnedError:
        real = Path(os.path.realpath(database))
        with TemporaryDirectory(prefix=f"{real.name}.new-", dir=real.parent) as folder:
            made = _make(database, Path(folder) / "copy.duckdb")
            return look(made.path), made.moment


def restore(
    file: Annotated[Path, Argument(metavar="FILE", help="A backup.")],
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of the database, once the doctor has seen it.

    Nobody may have the database open. What is in its place, with its journal, is set aside and
    not deleted.
    """
    found = put_back(file, database, Settings())
    if as_json:
        document(found)
        return
    tasks, moves = counted(found.tasks, "task"), counted(found.transitions, "transition")
    say(f"{found.path} is {found.source} now: {tasks} and {moves}, checked.")
    for one in found.moved:
        say(f"Set aside: {one}")
