"""The table of an outbox through an ``Engine`` of SQLAlchemy, whose calls block: in a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, Table

from wopr.integrations.outbox import sqlrows
from wopr.integrations.outbox.rows import OutboxRow
from wopr.integrations.outbox.threaded import OwnThread

P = ParamSpec("P")
T = TypeVar("T")


class SyncRows:
    """See :class:`wopr.integrations.outbox.rows.Rows`."""

    def __init__(self, engine: Engine, table: Table) -> None:
        self._engine = engine
        self._table = table
        self._thread = OwnThread()
        self._taking: Connection | None = None

    async def take(self) -> list[OutboxRow]:
        """Return the oldest rows; their transaction goes on."""
        return await self._thread(self._take)

    def _take(self) -> list[OutboxRow]:
        self._taking = self._engine.connect()
        return sqlrows.take(self._taking, self._table)

    async def settle(self, moved: Sequence[int], refused: Mapping[int, str]) -> None:
        """Settle what was taken, and commit."""
        assert self._taking is not None, "rows were taken"
        await self._thread(sqlrows.settle, self._taking, self._table, moved, refused)

    async def let_go(self) -> None:
        """Give the connection back."""
        await self._thread(self._let_go)

    def _let_go(self) -> None:
        taking, self._taking = self._taking, None
        if taking is not None:
            taking.close()

    async def refused(self, most: int) -> list[OutboxRow]:
        """Return the oldest rows that have an error."""
        return await self._thread(self._once, sqlrows.refused, most)

    async def retry(self, ids: Sequence[str]) -> int:
        """Take errors away."""
        return await self._thread(self._once, sqlrows.retry, ids)

    def _once(
        self,
        function: Callable[Concatenate[Connection, Table, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        with self._engine.connect() as connection:
            return function(connection, self._table, *args, **kwargs)

    async def close(self) -> None:
        """End the thread."""
        self._thread.end()
