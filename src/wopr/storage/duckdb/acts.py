"""The table of acts, and the transitions that each of them made."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import duckdb

from wopr.domain.act import COLUMNS, Act
from wopr.domain.change import Verb
from wopr.domain.transition import Transition
from wopr.storage.duckdb import operations
from wopr.storage.duckdb.base import Base
from wopr.storage.duckdb.replay import TRANSITION_COLUMNS, transition_from_row

Connection = duckdb.DuckDBPyConnection

_ACTS = f"select {', '.join(COLUMNS)} from acts"


def newest(cursor: Connection, limit: int, before: int | None) -> list[Act]:
    """Return the newest acts, those before a number."""
    rows = cursor.execute(
        f"{_ACTS} where number < ? order by number desc limit ?",
        [2**62 if before is None else before, limit],
    ).fetchall()
    return [_act(row) for row in rows]


def one(cursor: Connection, number: int) -> Act | None:
    """Return one act."""
    rows = cursor.execute(f"{_ACTS} where number = ?", [number]).fetchall()
    return _act(rows[0]) if rows else None


def made_by(cursor: Connection, act: Act, after: int, limit: int) -> list[Transition]:
    """Return transitions that an act made, in order, after one of them."""
    rows = cursor.execute(
        f"select {TRANSITION_COLUMNS} from transitions where seq > ? and seq <= ? "
        "and contains(data, '\"act\":') and (data ->> '$.act')::bigint = ? order by seq limit ?",
        [max(after, act.first_seq), act.last_seq, act.number, limit],
    ).fetchall()
    return [transition_from_row(row) for row in rows]


def made_count(cursor: Connection, act: Act) -> int:
    """Return how many tasks an act has changed, or added."""
    added = act.verb == Verb.RUN_AGAIN.value
    table, column = ("tasks", "options") if added else ("transitions", "data")
    row = cursor.execute(
        f"select count(*) from {table} where seq > ? and contains({column}, '\"act\":') "
        f"and ({column} ->> '$.act')::bigint = ?",
        [act.first_seq, act.number],
    ).fetchone()
    return int(row[0]) if row else 0


def _act(row: tuple[Any, ...]) -> Act:
    values = dict(zip(COLUMNS, row, strict=True))
    for name in ("began_at", "ended_at"):
        if isinstance(values[name], datetime):
            values[name] = values[name].replace(tzinfo=UTC)
    return Act(**values)


class ActCalls(Base):
    """The calls of the storage that are about acts."""

    @property
    def newest(self) -> int:
        """The number of the newest transition that was handed over."""
        return self._seq

    async def save_act(self, act: Act) -> None:
        """Make an act durable, new or changed; see the port."""
        await self._log([operations.save_act(act)])

    async def acts(self, limit: int, before: int | None) -> list[Act]:
        """Return the newest acts, those before a number."""
        return await self._read(lambda cursor: newest(cursor, limit, before))

    async def act(self, number: int) -> Act | None:
        """Return one act."""
        return await self._read(lambda cursor: one(cursor, number))

    async def made_by(self, act: Act, after: int, limit: int) -> list[Transition]:
        """Return transitions that an act made, in order, after one of them."""
        return await self._read(lambda cursor: made_by(cursor, act, after, limit))

    async def made_count(self, act: Act) -> int:
        """Return how many tasks an act has changed, or added, so far."""
        return await self._read(lambda cursor: made_count(cursor, act))
