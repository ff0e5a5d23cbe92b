"""A queue's tables carried from a file to a server as they are, to ask both the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wopr.access.sharedasking import SharedAsking
from wopr.config.settings import Settings
from wopr.domain.address import PostgresAddress
from wopr.fleet.archived import Archived
from wopr.ports.storage import QueryLimits
from wopr.storage import open_storage
from wopr.storage.postgres.connections import Connections
from wopr.storage.postgres.schema import prepare

TABLES = ("tasks", "transitions", "acts", "rules", "schedules", "task_logs")
LIMITS = QueryLimits(60.0, 1_000_000, own=True, whole=True)


class Both:
    """The same rows in a file and on a server."""

    def __init__(self, storage: Any, connections: Connections) -> None:
        self.storage = storage
        self.connections = connections
        self.asking = SharedAsking(connections, Archived(None))

    @classmethod
    async def of(cls, path: Path, address: str) -> Both:
        """Carry the rows of a file that nobody has open to an empty database."""
        storage = open_storage(path, Settings())
        await storage.open()
        connections = Connections(PostgresAddress(address), 2, 10.0)
        await connections.open()
        await prepare(connections)
        for table in TABLES:
            answer = await storage.query(f"select * from {table}", [], LIMITS)
            await connections.lone(lambda to, table=table, answer=answer: _copy(to, table, answer))
        return cls(storage, connections)

    async def close(self) -> None:
        """Let go of both."""
        await self.connections.close()
        await self.storage.close()


async def _copy(connection: Any, table: str, answer: Any) -> None:
    names = ", ".join(answer.columns)
    async with connection.cursor().copy(f"copy wopr.{table} ({names}) from stdin") as copy:
        for row in answer.rows:
            await copy.write_row(row)


async def compare(both: Both, question: str, *params: Any) -> list[tuple[Any, ...]]:
    """Ask both; return what both answer."""
    expected: list[tuple[Any, ...]] = (await both.storage.query(question, params, LIMITS)).rows
    found = (await both.asking.sql(question, params, LIMITS)).rows
    assert len(expected) == len(found)
    for one, other in zip(sorted(expected, key=_rough), sorted(found, key=_rough), strict=True):
        assert all(map(same, one, other)), (one, other)
    return expected


def _rough(row: tuple[Any, ...]) -> str:
    """Return what rows are sorted by: the last digits of a float depend on the order of a sum."""
    return repr([f"{one:.3g}" if isinstance(one, float) else one for one in row])


def same(one: Any, other: Any) -> bool:
    """Whether two values say the same; lists do in any order."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, sorted(one), sorted(other)))
    if isinstance(one, float) or isinstance(other, float):
        return bool(one == pytest.approx(other, rel=1e-6))
    return bool(one == other)
