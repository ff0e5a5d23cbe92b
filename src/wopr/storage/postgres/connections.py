"""Connections to the server: a few, bounded in number and in how long anybody waits for one."""

from __future__ import annotations

import asyncio
import enum
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
from wopr.storage.postgres.pool import Pool, Watch

T = TypeVar("T")

CONNECT_SECONDS = 10
FIRST_BACK_OFF = 0.02
LONGEST_BACK_OFF = 1.0
MOVED_STATE = "WM001"
"""Of the error of a change where the queue has moved away: its text is the move."""
LONGEST_STATEMENT = 60
"""Seconds after which the server gives one of our own statements up."""
LONGEST_PAUSE = 15
"""Seconds after which the server ends a transaction in which nobody says anything: a host that was
stopped, or cut off, holds nobody up for longer."""
SILENCE_SECONDS = 10
"""After so long without an answer of the other machine, a connection counts as broken."""
_NETWORK = {
    "keepalives_idle": SILENCE_SECONDS // 2,
    "keepalives_interval": 1,
    "keepalives_count": SILENCE_SECONDS // 2,
    "tcp_user_timeout": SILENCE_SECONDS * 1000,
    "target_session_attrs": "read-write",
}
"""What counts unless the address says otherwise."""


def driver() -> Any:
    """Return psycopg, which only a queue on PostgreSQL needs.

    Raises:
        StorageError: it is not installed.
    """
    try:
        import psycopg
    except ImportError as error:
        raise StorageError(
            f"A queue on PostgreSQL needs psycopg ({error}). "
            "Install them: pip install 'wopr[postgres]'"
        ) from error
    return psycopg


def parameters(address: PostgresAddress, **given: Any) -> dict[str, Any]:
    """Return what a connection is made with; what the address says counts.

    Where the other machine is gone, it breaks within seconds.
    """
    said = driver().conninfo.conninfo_to_dict(address.conninfo)
    return {**_NETWORK, **given, **said}


class Patience(enum.Enum):
    """When something is tried again whose connection broke, or was not to be had."""

    NONE = enum.auto()
    ONCE_THERE = enum.auto()
    """Once there was one: an address that is wrong is told at once."""
    ALWAYS = enum.auto()


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
        self._pool: Pool | None = None
        self._watch = Watch()
        self.on_moved: Callable[[QueueMovedError], None] | None = None
        """Told when a change was refused, because the queue is not here any more."""
        self._psycopg = driver()
        self._given: dict[str, Any] | None = None
        self.conflict: type[Exception] = self._psycopg.errors.UniqueViolation
        """Raised inside of a transaction, where a row would be there twice."""
        self.errors: type[Exception] = self._psycopg.Error

    async def open(self) -> None:
        """Make the first connection.

        Raises:
            StorageError: the server can't be reached, or refuses.
        """
        await self.lone(lambda connection: connection.execute("select 1"))
        self._pool = Pool(self.connect, self._most)

    async def close(self) -> None:
        """Let go of all connections. Idempotent."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def lone(
        self, work: Callable[[Any], Awaitable[T]], *, patience: Patience = Patience.ONCE_THERE
    ) -> T:
        """Do something on a connection of its own, which ends with it.

        Args:
            work: it may be repeated; ``patience`` says when it is.

        Raises:
            StorageError: it failed.
        """
        tries = _Tries(self, self._seconds)
        while True:
            began = False
            try:
                async with await self.connect() as connection:
                    began = True
                    return await work(connection)
            except self._psycopg.Error as error:
                if patience is Patience.NONE or not (began or patience is Patience.ALWAYS):
                    raise self.failure(error) from error
                await tries.after(error, began=began)

    async def connect(self) -> Any:
        """Return a new connection that the caller closes."""
        connect = self._psycopg.AsyncConnection.connect
        try:
            return await connect(**self._options())
        except self._psycopg.OperationalError as error:
            if "options" not in str(error) or not self._options().pop("options", None):
                raise
            return await connect(**self._options())  # a pooler takes none

    def _options(self) -> dict[str, Any]:
        if self._given is None:
            said = parameters(
                self.address, connect_timeout=CONNECT_SECONDS, application_name="wopr"
            )
            kept: dict[str, Any]
            bounds = (
                f"-c statement_timeout={LONGEST_STATEMENT}s "
                f"-c idle_in_transaction_session_timeout={LONGEST_PAUSE}s"
            )
            if self.lent:  # what the server is to keep for a session, a pooler would lose
                kept = {"prepare_threshold": None}
            else:
                kept = {"options": f"{bounds} {said.get('options', '')}".strip()}
            self._given = {**said, **kept, "autocommit": True}
        return self._given

    async def reserved(self, statement: str | None = None) -> Any:
        """Return a new connection that the caller closes.

        Args:
            statement: if given, it has a transaction in which that was carried out.

        Raises:
            StorageError: there is none to be had.
        """
        tries = _Tries(self, self._seconds)
        while True:
            connection: Any = None
            try:
                connection = await self.connect()
                if statement is not None:
                    await connection.execute("begin")
                    await connection.execute(statement)
            except BaseException as error:
                if connection is not None:
                    await connection.close()
                if not isinstance(error, self._psycopg.Error):
                    raise
                await tries.after(error, began=False)
            else:
                return connection

    async def run(self, work: Callable[[Any], Awaitable[T]], *, seconds: float | None = None) -> T:
        """Do something that may be repeated on a connection.

        It is, when the connection broke, or when others stood in its way; for some seconds.

        Raises:
            StorageError: it failed, or the server does not answer.
        """
        tries = _Tries(self, self._seconds if seconds is None else seconds)
        while True:
            if (pool := self._pool) is None:
                raise StorageError(f"The queue on {self.address} is closed.")
            began = False
            try:
                timer = self._watch.begin(tries.until)
                try:
                    async with timer:
                        connection = await pool.take(tries.left())
                        began = True
                        try:
                            return await work(connection)
                        finally:
                            await pool.give(connection)
                finally:
                    self._watch.end(timer)
            except self.conflict:
                raise
            except self._psycopg.Error as error:
                if self.is_broken(error):
                    await pool.drop()
                await tries.after(error, began=began)
            except TimeoutError as error:
                busy = not began and pool.full
                raise self._silent(tries.seconds, busy, began or tries.doubt) from error

    async def rows(self, statement: str, /, **values: Any) -> list[tuple[Any, ...]]:
        """Run one statement that may be repeated; return its rows, if it has any."""
        return await self.rows_within(self._seconds, statement, **values)

    async def rows_within(
        self, limit: float, statement: str, /, **values: Any
    ) -> list[tuple[Any, ...]]:
        """Do the same, and give up after so many seconds."""

        async def work(connection: Any) -> list[tuple[Any, ...]]:
            cursor = await connection.execute(statement, values)
            return await cursor.fetchall() if cursor.description is not None else []

        return await self.run(work, seconds=limit)

    def is_broken(self, error: BaseException) -> bool:
        """Whether the connection is gone, so that nobody knows what the server still did."""
        psycopg = self._psycopg
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
        errors = psycopg.errors
        ended = errors.ReadOnlySqlTransaction | errors.IdleInTransactionSessionTimeout
        return isinstance(error, ended)

    def passes(self, error: BaseException) -> bool:
        """Whether an error may be over soon."""
        errors = self._psycopg.errors
        if isinstance(error, errors.QueryCanceled | errors.InsufficientResources):
            return isinstance(error, errors.TooManyConnections)
        return isinstance(error, self._psycopg.OperationalError) or self.is_broken(error)

    def failure(self, error: BaseException, *, doubt: bool = False) -> StorageError:
        """Return an error of the server as one of ours."""
        if getattr(error, "sqlstate", None) == MOVED_STATE:
            moved = Moving.read(error.diag.message_primary).gone()  # type: ignore[attr-defined]
            if self.on_moved is None:
                return moved
            self.on_moved(moved)
            return OwnerLeavingError(str(moved))
        said = " ".join(str(error).split()) or type(error).__name__
        if self.is_broken(error):
            said += " Is the server up, and may this host and user connect? Check the address."
        made = StorageError(f"{self.address}: {said}")
        made.in_doubt, made.unreached = doubt, self.is_broken(error) and not doubt
        return made

    def _silent(self, seconds: float, busy: bool, doubt: bool) -> StorageError:  # noqa: FBT001
        what = (
            f"all {self._most} connections of this process were in use. Does the server answer, "
            "and does nobody hold locks there? See its pg_stat_activity."
            if busy
            else "the server did not answer. Is it up, and does the network let it through?"
        )
        made = StorageError(f"{self.address}: for {seconds:g} s {what}")
        made.in_doubt, made.unreached = doubt, not doubt
        return made


class _Tries:
    """How long something is tried again, and whether a try may have been carried out."""

    def __init__(self, connections: Connections, seconds: float) -> None:
        self.seconds = seconds
        self.doubt = False
        self._connections = connections
        self._time = asyncio.get_running_loop().time
        self.until = self._time() + seconds
        self._back_off = FIRST_BACK_OFF

    def left(self) -> float:
        """Return for how many seconds it is still tried."""
        return max(self.until - self._time(), 0.0)

    async def after(self, error: Exception, *, began: bool) -> None:
        """Wait a little before the next try.

        Raises:
            StorageError: there is none.
        """
        self.doubt |= began and self._connections.is_broken(error)
        if not self._connections.passes(error) or self.left() < self._back_off:
            raise self._connections.failure(error, doubt=self.doubt) from error
        await asyncio.sleep(self._back_off)
        self._back_off = min(2 * self._back_off, LONGEST_BACK_OFF)


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
