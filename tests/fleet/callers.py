"""Ways in which an application has a transaction on PostgreSQL, for tests."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager as Opened
from typing import Any

import pytest

from wopr.domain.address import PostgresAddress


class Transaction:
    """One transaction of an application: what it gives to wopr, and how it goes on with it."""

    def __init__(self, connection: Any, execute: Any, commit: Any, rollback: Any) -> None:
        """Take what each library calls differently."""
        self.connection = connection
        self.execute = execute
        self.commit = commit
        self.rollback = rollback


def _awaited(call: Callable[..., Any]) -> Callable[..., Any]:
    async def run(*args: Any) -> None:
        call(*args)

    return run


@contextlib.asynccontextmanager
async def psycopg_async(address: str) -> AsyncIterator[Transaction]:
    """Open a connection of psycopg that chose rows and cursors of its own."""
    import psycopg
    from psycopg.rows import dict_row

    async with await psycopg.AsyncConnection.connect(
        PostgresAddress(address).conninfo,
        row_factory=dict_row,
        cursor_factory=psycopg.AsyncRawCursor,
    ) as one:
        yield Transaction(one, one.execute, one.commit, one.rollback)


@contextlib.asynccontextmanager
async def psycopg_sync(address: str) -> AsyncIterator[Transaction]:
    """Open a connection of psycopg that blocks."""
    import psycopg

    with psycopg.connect(PostgresAddress(address).conninfo) as one:
        yield Transaction(one, _awaited(one.execute), _awaited(one.commit), _awaited(one.rollback))


@contextlib.asynccontextmanager
async def psycopg2(address: str) -> AsyncIterator[Transaction]:
    """Open a connection of psycopg2."""
    driver = pytest.importorskip("psycopg2")
    one = driver.connect(PostgresAddress(address).conninfo)
    with contextlib.closing(one), one.cursor() as cursor:
        yield Transaction(
            one, _awaited(cursor.execute), _awaited(one.commit), _awaited(one.rollback)
        )


@contextlib.asynccontextmanager
async def asyncpg(address: str) -> AsyncIterator[Transaction]:
    """Begin a transaction of asyncpg."""
    driver = pytest.importorskip("asyncpg")
    one = await driver.connect(_plain(address))
    transaction = one.transaction()
    await transaction.start()
    try:
        yield Transaction(one, one.execute, transaction.commit, transaction.rollback)
    finally:
        await one.close()


def session(driver: str) -> Callable[[str], Opened[Transaction]]:
    """Return what opens a session of SQLAlchemy that blocks."""

    @contextlib.asynccontextmanager
    async def opened(address: str) -> AsyncIterator[Transaction]:
        pytest.importorskip(driver)
        from sqlalchemy import create_engine, text
        from sqlalchemy.orm import Session

        engine = create_engine(_with(driver, address))
        with Session(engine) as one:
            yield Transaction(
                one,
                _awaited(lambda said: one.execute(text(said))),
                _awaited(one.commit),
                _awaited(one.rollback),
            )
        engine.dispose()

    return opened


@contextlib.asynccontextmanager
async def sqlalchemy_connection(address: str) -> AsyncIterator[Transaction]:
    """Open a connection of SQLAlchemy."""
    from sqlalchemy import create_engine

    engine = create_engine(_with("psycopg", address))
    with engine.connect() as one:
        yield Transaction(
            one, _awaited(one.exec_driver_sql), _awaited(one.commit), _awaited(one.rollback)
        )
    engine.dispose()


def async_session(driver: str) -> Callable[[str], Opened[Transaction]]:
    """Return what opens a session of SQLAlchemy that is awaited."""

    @contextlib.asynccontextmanager
    async def opened(address: str) -> AsyncIterator[Transaction]:
        pytest.importorskip(driver)
        from sqlalchemy import text
        from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

        engine = create_async_engine(_with(driver, address))
        async with AsyncSession(engine) as one:

            async def execute(said: str) -> None:
                await one.execute(text(said))

            yield Transaction(one, execute, one.commit, one.rollback)
        await engine.dispose()

    return opened


@contextlib.asynccontextmanager
async def async_connection(address: str) -> AsyncIterator[Transaction]:
    """Open a connection of SQLAlchemy that is awaited."""
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(_with("psycopg", address))
    async with engine.connect() as one:
        yield Transaction(one, one.exec_driver_sql, one.commit, one.rollback)
    await engine.dispose()


def _plain(address: str) -> str:
    return PostgresAddress(address).conninfo


def _with(driver: str, address: str) -> str:
    return _plain(address).replace("postgresql://", f"postgresql+{driver}://", 1)


CALLERS: dict[str, Callable[[str], Opened[Transaction]]] = {
    "psycopg": psycopg_async,
    "psycopg that blocks": psycopg_sync,
    "psycopg2": psycopg2,
    "asyncpg": asyncpg,
    "Session": session("psycopg"),
    "Session on psycopg2": session("psycopg2"),
    "Connection": sqlalchemy_connection,
    "AsyncSession": async_session("psycopg"),
    "AsyncSession on asyncpg": async_session("asyncpg"),
    "AsyncConnection": async_connection,
}
