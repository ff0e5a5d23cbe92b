"""The table of rules."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC

import duckdb

from wopr.domain.rule import Rule, RuleKind
from wopr.storage.duckdb.base import Base

Connection = duckdb.DuckDBPyConnection
Row = tuple[object, ...]

_LOAD = "select kind, name, value, updated_at from rules order by kind, name"
_SAVE = """
merge into rules
using (
    select
        unnest(?::varchar[]) as kind,
        unnest(?::varchar[]) as name,
        unnest(?::varchar[]) as value,
        unnest(?::timestamp[]) as updated_at
) as new
using (kind, name)
when matched then update set value = new.value, updated_at = new.updated_at
when not matched then insert (kind, name, value, updated_at)
values (new.kind, new.name, new.value, new.updated_at)
"""
_DELETE = """
delete from rules
where (kind, name) in (select unnest(?::varchar[]), unnest(?::varchar[]))
"""


def load(cursor: Connection) -> list[Rule]:
    """Return all rules, by kind and name."""
    return [
        Rule(RuleKind(kind), name, value, updated_at.replace(tzinfo=UTC))
        for kind, name, value, updated_at in cursor.execute(_LOAD).fetchall()
    ]


def save(connection: Connection, rules: Sequence[Rule]) -> None:
    """Write new and changed rules in one statement, which is one commit."""
    newest = {(rule.kind, rule.name): rule for rule in rules}.values()
    columns: list[list[object]] = [
        [rule.kind.value for rule in newest],
        [rule.name for rule in newest],
        [rule.value for rule in newest],
        [rule.updated_at.astimezone(UTC).replace(tzinfo=None) for rule in newest],
    ]
    connection.execute(_SAVE, columns).fetchall()


def delete(connection: Connection, keys: Sequence[tuple[RuleKind, str]]) -> None:
    """Delete rows in one statement."""
    columns = [[kind.value for kind, _ in keys], [name for _, name in keys]]
    connection.execute(_DELETE, columns).fetchall()


class RuleCalls(Base):
    """The calls of the storage that are about rules."""

    async def rules(self) -> list[Rule]:
        """Return all rules, by kind and name."""
        return await asyncio.wrap_future(self.in_writer(load))

    async def save_rules(self, rules: Sequence[Rule]) -> None:
        """Write new and changed rules in one commit; see the port."""
        now = list(rules)
        if now:
            await asyncio.wrap_future(self.in_writer(lambda connection: save(connection, now)))

    async def delete_rules(self, keys: Sequence[tuple[RuleKind, str]]) -> None:
        """Delete rules in one commit; see the port."""
        now = list(keys)
        if now:
            await asyncio.wrap_future(self.in_writer(lambda connection: delete(connection, now)))
