"""What all commands share: their options, and a queue to work with."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import click

from wopr.cli.declared import Argument, Option
from wopr.cli.errors import UsageError
from wopr.cli.kinds import FileName
from wopr.cli.output import complain
from wopr.config.settings import Settings, led_outside
from wopr.domain.address import Address, PostgresAddress, database_of
from wopr.queue.face import inside
from wopr.queue.queue import TaskQueue
from wopr.storage import check_name, missing, unwritten

T = TypeVar("T")

_OF_FILES = frozenset({"backup", "restore", "export", "compact", "db accept"})
"""Commands that there are for files only."""
_OF_TABLES = frozenset({"doctor", "archive", "db current", "db check", "db upgrade", "db history"})
"""Commands that are for who has the tables: a file, or a server of PostgreSQL."""

DATABASE_VARIABLE = "WOPR_TASKS_DATABASE"
DEFAULT_DATABASE = Path("wopr_tasks.duckdb")


def _configured(context: click.Context, option: click.Parameter, path: Path) -> Path:
    """Return the database that a file with settings names, if nothing else does.

    Raises:
        StorageFileError: it is no name of a file, and no address that is known.
        UsageError: the command is not about addresses.
    """
    source = context.get_parameter_source(option.name or "")
    if source is not None and source.name == "DEFAULT":
        path = Settings().database
        if (said := led_outside(path)) is not None:
            complain(f"Warning: {said}")
    if not isinstance(path, Address):
        check_name(str(path))
    elif context.command_path.partition(" ")[2] in _refused_at(path):
        raise UsageError(
            f"{context.command_path} looks after a database file, and {path} is {_instead(path)}"
        )
    return path


def _refused_at(path: Address) -> frozenset[str]:
    """Return the commands that there are not at an address."""
    return _OF_FILES if isinstance(path, PostgresAddress) else _OF_FILES | _OF_TABLES


def _instead(path: Address) -> str:
    """Return what an address is of, and who looks after that."""
    if isinstance(path, PostgresAddress):
        return (
            "a server's. PostgreSQL has its own tools: pg_dump makes a backup, VACUUM tidies up. "
            "The tables are upgraded and checked by: wopr db upgrade, wopr db check."
        )
    return (
        "the address of a queue whose file another machine has. Nothing was done: run the command "
        "there, with --database PATH. `wopr status` tells from here how the queue is."
    )


Database = Annotated[
    Path,
    Option(
        "--database",
        "-d",
        envvar=DATABASE_VARIABLE,
        callback=_configured,
        type=FileName(database_of),
        metavar="PATH",
        help="The database file, or the address of a queue on another machine, https://…, or of "
        "a PostgreSQL database, postgresql://….",
    ),
]
AsJson = Annotated[bool, Option("--json", help="Print one JSON document.")]
TaskId = Annotated[str, Argument(metavar="ID", help="The id of a task, or its beginning.")]


def require_file(database: Path) -> None:
    """Refuse a database that is not there: a command that looks must not create one.

    Raises:
        StorageFileError: the file does not exist, or is empty.
    """
    if isinstance(database, Address):
        return
    try:
        empty = not os.stat(database).st_size
    except FileNotFoundError:
        check_name(str(database))
        raise missing(database) from None
    except OSError:  # what opens it says what is wrong
        return
    if empty and (error := unwritten(database)) is not None:
        raise error


def typed(database: Path) -> str:
    """Return a database as it is typed in a shell: an address with its user, without a password."""
    return shlex.quote(database.named if isinstance(database, PostgresAddress) else str(database))


def with_queue(
    database: Path,
    work: Callable[[TaskQueue], Coroutine[Any, Any, T]],
    settings: Settings | None = None,
) -> T:
    """Return what ``work`` returns for a queue on an existing file, or on PostgreSQL.

    The queue is switched on whatever ``WOPR_TASKS_ENABLED`` says: that flag keeps an
    application from making a database by accident, and who types a command means it.

    Raises:
        StorageError: the file does not exist or can't be opened.
    """
    require_file(database)

    async def run() -> T:
        queue = TaskQueue(enabled=True, database=database, settings=settings)
        try:
            await inside(queue).existing()  # a command about a queue makes none
            return await work(queue)
        finally:
            await queue.shutdown()

    return asyncio.run(run())
