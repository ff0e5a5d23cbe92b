"""Implementations of the storage port; never imports the engine."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from wopr.config.settings import Settings
from wopr.domain.address import PostgresAddress
from wopr.domain.clock import SystemClock
from wopr.domain.errors import StorageError, StorageFileError, StorageOwnedError
from wopr.domain.moving import Moving
from wopr.ports.backup import Backup, Export, Restored
from wopr.ports.storage import QueryLimits, QueryRows, Snapshot, Storage
from wopr.ports.stream import BatchSource, StreamLimits
from wopr.storage.duckdb.file.location import absolute, check_name
from wopr.storage.duckdb.file.signature import Signature

__all__ = [
    "absolute",
    "arrived",
    "ask_snapshot",
    "check_name",
    "missing",
    "open_storage",
    "stream_snapshot",
    "unwritten",
]


def open_storage(database: str | os.PathLike[str], settings: Settings) -> Storage:
    """Return the DuckDB storage for a file; duckdb is imported here and not before."""
    from wopr.storage.duckdb.storage import DuckDBStorage

    return DuckDBStorage(
        database,
        settings.memory_limit,
        snapshot_limit=settings.snapshot_limit,
        sync=settings.sync == "full",
        inline_sync=settings.inline_sync == "auto",
        archive=settings.archive,
    )


def open_archive(settings: Settings) -> Any:
    """Return the archive of a queue whose tables are no file; ``None`` if it has none."""
    if settings.archive is None:
        return None
    from wopr.storage.duckdb.cold import Cold

    return Cold(settings.archive, settings.memory_limit)


def missing(database: Path) -> StorageError:
    """Return the error that no queue is there; it says if a journal lies there without its file."""
    if isinstance(database, PostgresAddress):
        return StorageError(
            f"There is no queue in {database}: the database has no tables of one, and a look makes "
            "none. See that its name is the right one. A worker, or an application, makes them "
            f"with its first task; so does: wopr db upgrade -d {shlex.quote(database.named)}"
        )
    from wopr.storage.duckdb.journal.scan import segments

    path = database.absolute()
    if path.parent.is_dir() and segments(path):
        return StorageFileError(
            f"The database file {path} is gone, but its journal lies there and may hold tasks. Put "
            f"the file or a backup back; to begin with no tasks: "
            f"wopr db accept -d {shlex.quote(str(path))}"
        )
    return StorageFileError(
        f"There is no database file {path}. Name yours with --database PATH or "
        f"WOPR_TASKS_DATABASE; a queue creates it with its first task."
    )


def unwritten(database: Path) -> StorageFileError | None:
    """Return the error that an empty file is no database; ``None`` if it was one once."""
    from wopr.storage.duckdb.journal.scan import segments

    path = database.absolute()
    if segments(path) or os.path.lexists(f"{path}.wal"):
        return None  # opening it says what of it is left
    return StorageFileError(
        f"{path} is an empty file: no queue has written to it. Name yours with --database PATH "
        f"or WOPR_TASKS_DATABASE, or delete it."
    )


def signed(database: Path) -> Signature:
    """Return what the lock file says of the owner, or of who is to be the next one."""
    from wopr.storage.duckdb.file.signature import signature_of

    return signature_of(database)


def sign_coming(database: Path, *, coming: bool, receiver: int | None = None) -> None:
    """Let the owner tell whether it opens or closes the file just now, and who gets it then."""
    from wopr.storage.duckdb.file import signature

    signature.sign_coming(database, coming=coming, receiver=receiver)


def sign_deaf(database: Path, error: int) -> None:
    """Tell other processes that this one, the owner of the file, can't listen."""
    from wopr.storage.duckdb.file import signature

    signature.sign_deaf(database, error)


async def ask_archive(sql: str, limits: QueryLimits, memory_limit: str) -> QueryRows:
    """Run a query of people on an archive alone, in a process of its own.

    Raises:
        QueryError: it was refused, it failed, or it needed more memory than it may have.
        QueryTimeoutError: it took too long.
    """
    from wopr.storage.duckdb.file import migrate

    with tempfile.TemporaryDirectory(prefix="wopr-archive-") as folder:
        path = Path(folder) / "none.duckdb"
        await asyncio.to_thread(migrate.create_file, path)
        return await ask_snapshot(path, sql, [], limits, memory_limit)


async def ask_snapshot(
    path: str | os.PathLike[str],
    sql: str,
    params: Sequence[Any],
    limits: QueryLimits,
    memory_limit: str,
) -> QueryRows:
    """Run a query on a snapshot, in a process of its own.

    Raises:
        QueryError: it was refused, it failed, or it needed more memory than it may have.
        QueryTimeoutError: it took too long.
    """
    from wopr.storage.duckdb.asked import apart

    return await apart.ask(Path(path), sql, params, limits, memory_limit)


async def stream_snapshot(
    path: Path, sql: str, params: Sequence[Any], limits: StreamLimits, memory_limit: str
) -> BatchSource:
    """Run a query on a copy that is the caller's, in a process of its own, batch by batch.

    The copy is deleted when the stream ends, or was not begun.

    Raises:
        QueryError: it was refused, it failed, or it needed more memory than it may have.
        QueryTimeoutError: its first batch took too long.
    """
    from wopr.storage.duckdb.asked import stream

    return await stream.begun(path, sql, params, limits, memory_limit)


Copying = Callable[[], Awaitable[Snapshot]]


async def back_up(
    database: Path,
    target: Path,
    settings: Settings,
    copy: Copying,
    *,
    verify: bool,
    overwrite: bool,
) -> Backup:
    """Make one complete file of a database; ``copy`` asks the owner, if there is one.

    Raises:
        StorageError: it could not be made; the message says why, and nothing is left of it.
    """
    from wopr.storage.duckdb import backup

    target = backup.check_target(target, database, overwrite=overwrite)
    limit = settings.memory_limit

    def of_closed() -> Backup:
        with backup.copied(database, target, limit) as new:
            now = SystemClock().now()
            return backup.finish(new, target, now, verify=verify, memory_limit=limit)

    def of_copy(found: Snapshot) -> Backup:
        with backup.taken_over(found.path, target, limit) as new:
            return backup.finish(new, target, found.moment, verify=verify, memory_limit=limit)

    try:
        try:
            return await asyncio.to_thread(of_closed)
        except StorageOwnedError:
            return await asyncio.to_thread(of_copy, await copy())
    except OSError as error:
        raise StorageFileError(
            f"The backup {target} could not be made: {error}. Nothing is left of it."
        ) from error


async def export(target: Path, settings: Settings, copy: Copying, *, overwrite: bool) -> Export:
    """Write all of a database as Parquet files; ``copy`` asks the owner for one of its own.

    Raises:
        StorageError: it could not be done; the message says why, and nothing is left of it.
    """
    from wopr.storage.duckdb.failures import told
    from wopr.storage.duckdb.parquet import export as work

    target = work.check_target(target, overwrite=overwrite)
    found = await copy()
    try:
        with told(f"The export {target} could not be made"):
            return await asyncio.to_thread(
                work.export, found.path, found.moment, target, settings.memory_limit
            )
    finally:
        await asyncio.to_thread(shutil.rmtree, found.path.parent, ignore_errors=True)


def arrived(database: Path, moving: Moving, memory_limit: str) -> None:
    """Let queues work on a file that a queue has moved to, as the home says that it has left."""
    from wopr.storage.duckdb.moving.filling import arrived as work

    work(database, moving, memory_limit)


def restore(source: Path, database: Path, settings: Settings) -> Restored:
    """Put a backup in the place of a database that nobody has open.

    Raises:
        StorageError: it could not be done; the message says why.
    """
    from wopr.storage.duckdb import backup

    try:
        return backup.restore(source, database, memory_limit=settings.memory_limit)
    except OSError as error:
        raise StorageFileError(f"{source} could not be put back: {error}") from error
