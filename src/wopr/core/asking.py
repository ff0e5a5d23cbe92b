"""Questions in SQL of a queue, and copies of its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wopr.core.core import Core
from wopr.domain.address import Address, PostgresAddress
from wopr.domain.checks import check_query
from wopr.domain.errors import InvalidCallError, QueueDisabledError
from wopr.ports.answers import QueryResult
from wopr.ports.backend import AsksApart, Backend
from wopr.ports.backup import Backup, Export
from wopr.ports.storage import QueryLimits, Snapshot
from wopr.ports.stream import QueryStream, StreamLimits, require_arrow
from wopr.storage import ask_snapshot, back_up, export, stream_snapshot


async def sql(core: Core, text: str, *params: Any, rows: int | None = None) -> QueryResult:
    """Run one read-only query; its answer has ``rows`` at most, or what the settings say.

    Raises:
        QueryError: it was refused, or it failed.
        QueueDisabledError: the queue is switched off.
    """
    if not core.enabled:
        raise QueueDisabledError
    text = check_query(text, params)
    return await (await _backend(core)).sql(text, params, _limits(core, rows))


async def typed_sql(core: Core, text: str, *params: Any, rows: int | None = None) -> QueryResult:
    """Run one read-only query on a snapshot, in a process of its own.

    Raises:
        QueryError: it was refused, or it failed.
        QueueDisabledError: the queue is switched off.
    """
    if not core.enabled:
        raise QueueDisabledError
    text = check_query(text, params)
    if isinstance(
        core.database, PostgresAddress
    ):  # the server has types of its own, and takes its time
        return await sql(core, text, *params, rows=rows)
    limits = _limits(core, rows)
    backend = await core.access.backend()
    if isinstance(backend, AsksApart):  # where the file is, there is the copy
        return await backend.typed_sql(text, params, limits)
    found = await backend.snapshot()
    answer = await ask_snapshot(found.path, text, params, limits, core.settings.memory_limit)
    return QueryResult(answer, found.moment)


async def stream_sql(
    core: Core, text: str, *params: Any, timeout: float, batch_bytes: int
) -> QueryStream:
    """Run one read-only query on a copy of its own; its rows come in Arrow batches.

    Raises:
        QueryError: it was refused, or it failed.
        QueueDisabledError: the queue is switched off.
    """
    if not core.enabled:
        raise QueueDisabledError
    text = check_query(text, params)
    if isinstance(core.database, Address) and not isinstance(core.database, PostgresAddress):
        raise InvalidCallError(
            "All rows at once are read from a copy of the file, and that is on another machine, at "
            f"{core.database}: ask with a limit from here, or run `wopr sql` there."
        )
    require_arrow()
    found = await (await _backend(core)).snapshot(own=True)
    limits = StreamLimits(timeout, core.settings.query_seconds, batch_bytes, core.settings.archive)
    source = await stream_snapshot(found.path, text, params, limits, core.settings.memory_limit)
    return QueryStream(source, found.moment)


async def _backend(core: Core) -> Backend:
    """Return who answers; on a server a question makes no tables, as a first one makes a file."""
    if isinstance(core.database, PostgresAddress):
        return await core.existing()
    return await core.access.backend()


def _limits(core: Core, rows: int | None) -> QueryLimits:
    settings = core.settings
    rows = rows or settings.query_rows
    return QueryLimits(settings.query_seconds, rows, archive=settings.archive)


async def backup(core: Core, target: Path, *, verify: bool, overwrite: bool) -> Backup:
    """Make one complete file of the database, which goes on meanwhile.

    Raises:
        StorageError: it could not be made.
        QueueDisabledError: the queue is switched off.
    """
    if not core.enabled:
        raise QueueDisabledError
    return await back_up(
        _file(core),
        target,
        core.settings,
        lambda: _copy(core),
        verify=verify,
        overwrite=overwrite,
    )


async def export_to(core: Core, target: Path, *, overwrite: bool) -> Export:
    """Write all of the database, which goes on meanwhile, as Parquet files.

    Raises:
        StorageError: it could not be done.
        QueueDisabledError: the queue is switched off.
    """
    if not core.enabled:
        raise QueueDisabledError
    _file(core)
    return await export(target, core.settings, lambda: _copy(core), overwrite=overwrite)


def _file(core: Core) -> Path:
    if isinstance(core.database, PostgresAddress):
        raise InvalidCallError(
            f"This is about a file, and the queue is on PostgreSQL, {core.database}: pg_dump makes "
            "a backup of it, and queue.sql asks it."
        )
    if isinstance(core.database, Address):
        raise InvalidCallError(
            f"This is about files of the machine that has the queue, and {core.database} is at "
            "another one: run `wopr backup` or `wopr export` there."
        )
    return core.database


async def _copy(core: Core) -> Snapshot:
    return await (await core.access.backend()).backup()
