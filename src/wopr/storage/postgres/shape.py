"""The shape of the tables and views on the server, against what their scripts make."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from wopr.domain.errors import SchemaError
from wopr.storage.postgres import reader, schema
from wopr.storage.postgres.connections import Connections

_COLUMNS = """
select c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod)
    || case when a.attnotnull then ' not null' else '' end
from pg_attribute a join pg_class c on c.oid = a.attrelid
    join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %(schema)s and c.relkind in ('r', 'p', 'v') and a.attnum > 0
    and not a.attisdropped
"""
_INDEXES = "select indexname, indexdef from pg_indexes where schemaname = %(schema)s"
_VIEWS = "select viewname, definition from pg_views where schemaname = %(schema)s"
_FUNCTIONS = """
select proname, coalesce(prosrc, '') from pg_proc p join pg_namespace n on n.oid = pronamespace
where n.nspname = %(schema)s
"""
_PARTS = {"column": _COLUMNS, "index": _INDEXES, "view": _VIEWS, "function": _FUNCTIONS}


class _MadeError(Exception):
    """What was made to be looked at goes away again."""


async def differences(connections: Connections) -> list[str]:
    """Return how the tables differ from those that this wopr makes. Changes nothing.

    Raises:
        SchemaError: there are none, or those of a newer wopr.
        StorageError: the server can't be asked, or the user may make no schema to compare with.
    """

    async def work(connection: Any) -> list[str]:
        found = await schema.version_of(connection)
        if found is None:
            raise SchemaError(
                f"There are no tables of a queue in {connections.address}. The first queue that "
                "opens it makes them, and so does: wopr db upgrade"
            )
        schema.refuse_unknown(connections, found)
        right: dict[tuple[str, str], str] = {}
        name = f"wopr_{connection.info.backend_pid}"  # nobody else's: it is never committed
        try:
            async with connection.transaction():
                for script in [*schema.steps().values(), schema.views()]:
                    await connection.execute(re.sub(r"\bwopr\b", name, script))
                right = await _shape(connection, name)
                raise _MadeError
        except _MadeError:
            pass
        async with connection.transaction():
            there = await _shape(connection, "wopr")
        allowed = await reader.usable(connection)
        return [*_compared(right, there), *([] if allowed else [_NO_READER])]

    return await connections.lone(work)


_NO_READER = (
    f"role {reader.ROLE} can't be used, so SQL of people runs with the rights of the queue's own "
    f"user, read-only. An administrator of the server changes that: {reader.ADVICE}"
)


async def _shape(connection: Any, name: str) -> dict[tuple[str, str], str]:
    shape: dict[tuple[str, str], str] = {}
    await connection.execute("set local search_path = pg_catalog")  # so that all names are whole
    for kind, asked in _PARTS.items():
        cursor = await connection.execute(asked, {"schema": name})
        for part, said in await cursor.fetchall():
            shape[kind, part] = " ".join(said.replace(f"{name}.", "wopr.").split())
    return shape


def _compared(
    right: dict[tuple[str, str], str], there: dict[tuple[str, str], str]
) -> Iterator[str]:
    for kind, part in sorted(right.keys() | there.keys()):
        wanted, found = right.get((kind, part)), there.get((kind, part))
        if found is None:
            yield f"{kind} {part} is missing"
        elif wanted is None:
            yield f"{kind} {part} is unknown"
        elif wanted != found:
            yield f"{kind} {part} is {found!r:.200}, not {wanted!r:.200}"
