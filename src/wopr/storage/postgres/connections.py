"""Connections to the server: a few, bounded in number and in how long anybody waits for one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from wopr.domain.address import PostgresAddress
from wopr.domain.errors import (
    InvalidCallError,
    OwnerLeavingError,
    QueueMovedError,
    StorageError,
)
from wopr.domain.moving import Moving

T = TypeVar("T")
log = logging.getLogger(__name__)

CONNECT_SECONDS = 10
FIRST_BACK_OFF = 0.02
LONGEST_BACK_OFF = 1.0
MOST_AT_HAND = 2
"""Connections that are not given back to the pool each time: that takes as long as a statement."""
MOVED_STATE = "WM001"
"""Of the error of a change where the queue has moved away: its text is the move."""
LONGEST_STATEMENT = 60
"""Seconds after which the server gives one of our own statements up."""


def driver() -> Any:
    """Return psycopg, which only a queue on PostgreSQL needs.

    Raises:
        StorageError: it is not installed.
    """
    try:
        import psycopg
        import psycopg_pool  # noqa: F401 - so that it is missed here, too
    except ImportError as error:
        raise StorageError(
            f"A queue on PostgreSQL needs psycopg and its pool ({error}). "
            "Install them: pip install 'wopr[postgres]'"
        ) from error
    return psycopg


_IDLE = 0
"""As libpq calls a connection that is in no transaction."""


class Connections:
    """The connections of one queue.

    Each statement is a transaction of its own, unless one was begun.

    Args:
        address: of the database.
        most: so many at once; who needs one more waits.
        seconds: so long a call goes on trying while the server does not answer.
    """

    alone = True
    """Whether a statement that fails harms no other one."""

    def __init__(self, address: PostgresAddress, most: int, seconds: float) -> None:
        self.address = address
        self.lent = _is_lent(address)
        """Whether each transaction may be on another connection to the server than the last."""
        self._most = most
        self._seconds = seconds
        self._pool: Any = None
        self._at_hand: list[Any] = []
        self.on_moved: Callable[[QueueMovedError], None] | None = None
        """Told when a change was refused, because the queue is not here any more."""
        self._psycopg = driver()
        self.conflict: type[Exception] = self._psycopg.errors.UniqueViolation
        """Raised inside of a transaction, where a row would be there twice."""
        self.errors: type[Exception] = self._psycopg.Error

    async def open(self) -> None:
        """Make the first connection.

        Raises:
            StorageError: the server can't be reached, or refuses.
        """
        from psycopg_pool import AsyncConnectionPool

        pool = AsyncConnectionPool(
            self.address.conninfo,
            min_size=1,
            max_size=self._most,
            open=False,
            timeout=self._seconds,
            max_waiting=100_000,
            kwargs=self._options(),
            name="wopr",
        )
        await self.lone(lambda connection: connection.execute("select 1"))
        await pool.open()
        self._pool = pool

    async def close(self) -> None:
        """Let go of all connections. Idempotent."""
        pool, self._pool = self._pool, None
        if pool is not None:
            while self._at_hand:
                await pool.putconn(self._at_hand.pop())
            await pool.close(5)

    async def lone(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Do something on a connection of its own, which ends with it.

        Raises:
            StorageError: it failed.
        """
        try:
            async with await self.connect() as connection:
                return await work(connection)
        except self._psycopg.Error as error:
            raise self.failure(error) from error

    async def connect(self) -> Any:
        """Return a new connection that the caller closes."""
        connection = self._psycopg.AsyncConnection
        return await connection.connect(self.address.conninfo, **self._options())

    def _options(self) -> dict[str, Any]:
        """Return how to connect. What the server is to keep for a session, a pooler would lose."""
        kept = {"prepare_threshold": None} if self.lent else {}
        return {
            "autocommit": True,
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "wopr",
            **kept,
        }

    async def reserved(self) -> Any:
        """Return a new connection that the caller closes.

        Raises:
            StorageError: there is none to be had.
        """
        try:
            return await self.connect()
        except self._psycopg.Error as error:
            raise self.failure(error) from error

    async def run(self, work: Callable[[Any], Awaitable[T]], *, patient: bool = True) -> T:
        """Do something that may be repeated on a connection.

        It is, when the connection broke, or when others stood in its way; for some seconds.

        Raises:
            StorageError: it failed, or the server does not answer.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + (self._seconds if patient else 0.0)
        back_off = FIRST_BACK_OFF
        while True:
            if self._pool is None:
                raise StorageError(f"The queue on {self.address} is closed.")
            try:
                return await self._on_one(work)
            except self.conflict:
                raise
            except self._psycopg.Error as error:
                if not self._passes(error) or loop.time() + back_off > until:
                    raise self.failure(error) from error
            await asyncio.sleep(back_off)
            back_off = min(2 * back_off, LONGEST_BACK_OFF)

    async def _on_one(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Do something on a connection of the pool; two of these are kept at hand."""
        pool = self._pool
        connection = self._at_hand.pop() if self._at_hand else await pool.getconn()
        try:
            done = await work(connection)
        except BaseException:
            await pool.putconn(connection)  # which looks whether it is still good for anything
            raise
        if len(self._at_hand) < MOST_AT_HAND and self._pool is pool and _is_free(connection):
            self._at_hand.append(connection)
        else:
            await pool.putconn(connection)
        return done

    async def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Run one statement that may be repeated; return its rows, if it has any."""

        async def work(connection: Any) -> list[tuple[Any, ...]]:
            cursor = await connection.execute(statement, values)
            return await cursor.fetchall() if cursor.description is not None else []

        return await self.run(work)

    def _passes(self, error: BaseException) -> bool:
        """Whether an error may be over soon."""
        errors = self._psycopg.errors
        if isinstance(error, errors.QueryCanceled | errors.InsufficientResources):
            return isinstance(error, errors.TooManyConnections)
        return isinstance(error, self._psycopg.OperationalError | self._psycopg.InterfaceError)

    def failure(self, error: BaseException) -> StorageError:
        """Return an error of the server as one of ours."""
        if getattr(error, "sqlstate", None) == MOVED_STATE:
            moved = Moving.read(error.diag.message_primary).gone()  # type: ignore[attr-defined]
            if self.on_moved is None:
                return moved
            self.on_moved(moved)
            return OwnerLeavingError(str(moved))
        said = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, self._psycopg.OperationalError) and not error.sqlstate:
            said += ". Is the server up, and may this host and user connect? Check the address."
        return StorageError(f"{self.address}: {said}")


def _is_lent(address: PostgresAddress) -> bool:
    """Whether a pooler in between lends connections to single transactions.

    Raises:
        InvalidCallError: the address says how in words that nobody knows.
    """
    pooler = address.pooler
    if pooler not in (None, "session", "transaction"):
        raise InvalidCallError(
            f"{address}: ?pooler={pooler:.40} says how a pooler like PgBouncer lends connections, "
            "and there are pooler=transaction and pooler=session (which is as good as none)."
        )
    return pooler == "transaction"


def _is_free(connection: Any) -> bool:
    return int(connection.info.transaction_status) == _IDLE and not connection.closed
