"""The tables on a server and the archive, asked together: hot rows are copied to a DuckDB file."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from wopr.domain.address import PostgresAddress
from wopr.ports.storage import QueryLimits, QueryRows
from wopr.storage import ask_snapshot, missing


async def ask_together(
    address: PostgresAddress, sql: str, limits: QueryLimits, memory_limit: str
) -> QueryRows:
    """Run a query of people on tables and archive, in a process of its own, in DuckDB's SQL.

    A task that is in both, because it was being archived, is the one of the tables.

    Raises:
        QueryError: it was refused, it failed, or there is too much to be copied.
        QueryTimeoutError: it took too long.
        StorageError: the server does not answer, or has no queue.
    """
    from wopr.storage.duckdb.moving.shape import shape
    from wopr.storage.duckdb.warm import made
    from wopr.storage.postgres.hot import Hot

    def copied(folder: Path) -> Path:
        written = Hot(address, shape(), limits.since, limits.seconds).write(folder)
        if written is None:
            raise missing(address)
        path = folder / "hot.duckdb"
        made(path, {name: (one.path, one.longest) for name, one in written.items()}, memory_limit)
        return path

    with tempfile.TemporaryDirectory(prefix="wopr-together-") as folder:
        path = await asyncio.to_thread(copied, Path(folder))
        return await ask_snapshot(path, sql, [], limits, memory_limit)
