"""The table of rules."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC

import duckdb

from wopr.domain.rule import Rule, RuleKind
from wopr.storage.duckdb import operations
from wopr.storage.duckdb.aside import set_aside
from wopr.storage.duckdb.base import Base

Connection = duckdb.DuckDBPyConnection

_LOAD = "select kind, name, value, updated_at from rules order by kind, name"


def load(cursor: Connection) -> list[Rule]:
    """Return all rules, by kind and name; without those that can't be read, which are told."""
    found: list[Rule] = []
    for kind, name, value, updated_at in cursor.execute(_LOAD).fetchall():
        try:
            found.append(Rule(RuleKind(kind), name, value, updated_at.replace(tzinfo=UTC)))
        except (ValueError, TypeError) as error:
            set_aside(f"rule {kind} {name!r:.80}", str(error))
    return found


class RuleCalls(Base):
    """The calls of the storage that are about rules."""

    async def rules(self) -> list[Rule]:
        """Return all rules, by kind and name."""
        return await asyncio.wrap_future(self.in_writer(load))

    async def save_rules(self, rules: Sequence[Rule]) -> None:
        """Make new and changed rules durable, all or none; see the port."""
        await self._log([operations.save_rules(rules)] if rules else [])

    async def delete_rules(self, keys: Sequence[tuple[RuleKind, str]]) -> None:
        """Delete rules, all or none; see the port."""
        await self._log([operations.delete_rules(keys)] if keys else [])
