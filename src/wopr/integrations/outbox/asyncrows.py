"""The table of an outbox through an ``AsyncEngine`` of SQLAlchemy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from wopr.integrations.outbox import sqlrows
from wopr.integrations.outbox.rows import OutboxRow


class AsyncRows:
    """See :class:`wopr.integrations.outbox.rows.Rows`."""

    def __init__(self, engine: AsyncEngine, table: Table) -> None:
        self._engine = engine
        self._table = table
        self._taking: AsyncConnection | None = None

    async def take(self) -> list[OutboxRow]:
        """Return the oldest rows; their transaction goes on."""
        self._taking = await self._engine.connect()
        return await self._taking.run_sync(sqlrows.take, self._table)

    async def settle(self, moved: Sequence[int], refused: Mapping[int, str]) -> None:
        """Settle what was taken, and commit."""
        assert self._taking is not None, "rows were taken"
        await self._taking.run_sync(sqlrows.settle, self._table, moved, refused)

    async def let_go(self) -> None:
        """Give the connection back."""
        taking, self._taking = self._taking, None
        if taking is not None:
            await taking.close()

    async def refused(self, most: int) -> list[OutboxRow]:
        """Return the oldest rows that have an error."""
        async with self._engine.connect() as connection:
            return await connection.run_sync(sqlrows.refused, self._table, most)

    async def retry(self, ids: Sequence[str]) -> int:
        """Take errors away."""
        async with self._engine.connect() as connection:
            return await connection.run_sync(sqlrows.retry, self._table, ids)

    async def close(self) -> None:
        """Nothing is held between two batches."""
