"""What an application reaches PostgreSQL with: one way to run a statement of ours on each."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from wopr.domain.errors import InvalidCallError
from wopr.domain.guarded import shown

Rows = list[tuple[Any, ...]]
Run = Callable[[str, Mapping[str, Any]], Awaitable[Rows]]
"""Runs one statement with its values."""

KINDS = (
    "a connection of psycopg, psycopg2 or asyncpg; a Session, AsyncSession, Connection or "
    "AsyncConnection of SQLAlchemy; or django.db.connection"
)
_VALUE = re.compile(r"%(?:\((\w+)\)s|%)")


def runner(connection: Any) -> Run:
    """Return what runs statements on a connection of the application.

    Raises:
        InvalidCallError: it is none, or leads to no PostgreSQL.
    """
    for kind in type(connection).__mro__:
        found = _RUNNERS.get((kind.__module__.partition(".")[0], kind.__name__))
        if found is not None:
            return found(connection)
    raise InvalidCallError(f"connection= takes {KINDS}; not {shown(connection)}.")


def numbered(statement: str, values: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """Return a statement as asyncpg takes it, with ``$1`` and so on, and its values in order."""
    names: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        name = found[1]
        return "%" if name is None else f"${names.setdefault(name, len(names) + 1)}"

    text = _VALUE.sub(number, statement)
    return text, tuple(values[name] for name in names)


async def _in_a_thread(work: Callable[[], Rows]) -> Rows:
    """Do what blocks; who gives up waiting for it returns when it has ended, too."""
    going = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(going)
    except asyncio.CancelledError:
        await asyncio.wait([going])
        raise


def _fetched(cursor: Any, statement: str, values: Mapping[str, Any]) -> Rows:
    with cursor:
        cursor.execute(statement, dict(values))
        return list(cursor.fetchall()) if cursor.description is not None else []


def _psycopg(connection: Any) -> Run:
    from psycopg import Cursor
    from psycopg.rows import tuple_row

    def made() -> Any:  # whatever cursors and rows the application has chosen for its own
        return Cursor(connection, row_factory=tuple_row)

    return lambda text, values: _in_a_thread(lambda: _fetched(made(), text, values))


def _psycopg2(connection: Any) -> Run:
    plain = sys.modules["psycopg2.extensions"].cursor

    def made() -> Any:
        return connection.cursor(cursor_factory=plain)

    return lambda text, values: _in_a_thread(lambda: _fetched(made(), text, values))


def _async_psycopg(connection: Any) -> Run:
    from psycopg import AsyncCursor
    from psycopg.rows import tuple_row

    async def run(text: str, values: Mapping[str, Any]) -> Rows:
        async with AsyncCursor(connection, row_factory=tuple_row) as cursor:
            await cursor.execute(text, dict(values))
            return await cursor.fetchall() if cursor.description is not None else []

    return run


def _asyncpg(connection: Any) -> Run:
    async def run(text: str, values: Mapping[str, Any]) -> Rows:
        asked, given = numbered(text, values)
        return [tuple(row) for row in await connection.fetch(asked, *given)]

    return run


def _sqlalchemy_connection(connection: Any) -> Run:
    return lambda text, values: _in_a_thread(lambda: _exec(connection, text, values))


def _sqlalchemy_session(session: Any) -> Run:
    return lambda text, values: _in_a_thread(lambda: _exec(session.connection(), text, values))


def _sqlalchemy_async_connection(connection: Any) -> Run:
    return lambda text, values: connection.run_sync(_exec, text, values)


def _sqlalchemy_async_session(session: Any) -> Run:
    def run(own: Any, text: str, values: Mapping[str, Any]) -> Rows:
        return _exec(own.connection(), text, values)

    return lambda text, values: session.run_sync(run, text, values)


def _exec(connection: Any, text: str, values: Mapping[str, Any]) -> Rows:
    """Run a statement as the driver takes it, in the transaction that SQLAlchemy knows of."""
    dialect = connection.dialect
    if dialect.name != "postgresql" or dialect.paramstyle not in ("pyformat", "numeric_dollar"):
        raise InvalidCallError(
            f"connection= leads to {dialect.name}+{dialect.driver}, and the tables of this queue "
            f"are on PostgreSQL. It takes {KINDS}. For another database there is the outbox: "
            "docs/guides/outbox.md"
        )
    if dialect.paramstyle == "pyformat":
        result = connection.exec_driver_sql(text, dict(values))
    else:
        result = connection.exec_driver_sql(*numbered(text, values))
    return [tuple(row) for row in result] if result.returns_rows else []


def _django(wrapper: Any) -> Run:
    if wrapper.vendor != "postgresql":
        raise InvalidCallError(
            f"connection= is Django's database {wrapper.alias!r} on {wrapper.vendor}, and the "
            "tables of this queue are on PostgreSQL. For another database there is the outbox: "
            "docs/guides/outbox.md"
        )
    if wrapper.connection is None or (wrapper.autocommit and not wrapper.in_atomic_block):
        raise no_transaction()
    return runner(wrapper.connection)  # that of the driver; the wrapper belongs to one thread


def no_transaction() -> InvalidCallError:
    """Return the error that a connection has no transaction."""
    return InvalidCallError(
        "connection= has no open transaction, so there is none that the task could be part of. "
        "Begin one around the call, as with `async with connection.transaction():` or "
        "`with transaction.atomic():`, or leave connection= out. Nothing was enqueued."
    )


_RUNNERS: dict[tuple[str, str], Callable[[Any], Run]] = {
    ("psycopg", "AsyncConnection"): _async_psycopg,
    ("psycopg", "Connection"): _psycopg,
    ("psycopg2", "connection"): _psycopg2,
    ("asyncpg", "Connection"): _asyncpg,
    ("asyncpg", "PoolConnectionProxy"): _asyncpg,
    ("sqlalchemy", "Connection"): _sqlalchemy_connection,
    ("sqlalchemy", "Session"): _sqlalchemy_session,
    ("sqlalchemy", "AsyncConnection"): _sqlalchemy_async_connection,
    ("sqlalchemy", "AsyncSession"): _sqlalchemy_async_session,
    ("django", "BaseDatabaseWrapper"): _django,
}
"""By the package and the name of a class: none of them is imported for that."""
