"""A transaction of the application, in which tasks are added: as our own connections are used."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NoReturn, TypeVar

from wopr.domain.address import PostgresAddress
from wopr.domain.errors import InvalidCallError, StorageError
from wopr.domain.moving import Moving
from wopr.storage.postgres.connections import MOVED_STATE
from wopr.storage.postgres.drivers import Rows, no_transaction, runner

T = TypeVar("T")

TELL = """
select meta.value, case when said is not null then pg_notify(%(channel)s, said)::text end
from wopr.meta left join unnest(%(notices)s::text[]) as said on true
where meta.key = 'identity'
"""
"""Says which queue the tables are of, and tells the hosts something when it is committed."""
_NO_TRANSACTION, _FAILED, _NOT_ALLOWED = "25P01", "25P02", "42501"
_NOT_THERE = ("42P01", "3F000")


_turns: dict[tuple[int, int], _Turn] = {}
"""Of connections that are in use, by the ids of each and of its event loop."""


class _Turn:
    """Whose turn it is on a connection, and how many there are."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class _UniqueError(Exception):
    """Is never raised: what is added where it is already is told by its statement."""


class CallersTransaction:
    """Where the tables are reached through a connection of the application.

    What goes wrong is rolled back to where it began, so that the transaction can go on.

    Args:
        address: of the queue's own database.
        connection: of the application, in a transaction.
    """

    alone = False
    conflict: type[Exception] = _UniqueError

    def __init__(self, address: PostgresAddress, connection: Any) -> None:
        self._address = address
        self._connection = connection
        self._run = runner(connection)
        self._depth = 0

    async def execute(self, statement: str, values: Mapping[str, Any] | None = None) -> _Answer:
        """Run one statement."""
        try:
            return _Answer(await self._run(statement, {} if values is None else values))
        except (InvalidCallError, StorageError):
            raise
        except Exception as error:  # noqa: BLE001 - each driver has its own
            self._refuse(error)

    async def rows(self, statement: str, **values: Any) -> Rows:
        """Run one statement; return its rows."""
        return await (await self.execute(statement, values)).fetchall()

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Do something here, once: only the application can repeat its transaction."""
        return await work(self)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Have the connection alone: savepoints of calls that are made at once would be mixed."""
        place = id(self._connection), id(asyncio.get_running_loop())
        turn = _turns.setdefault(place, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del _turns[place]

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Take back what is done inside, and nothing else, if it fails."""
        self._depth += 1
        name = f"wopr_{self._depth}"
        try:
            await self.execute(f"savepoint {name}")
            try:
                yield
            except BaseException:
                with contextlib.suppress(StorageError, InvalidCallError):
                    await self.execute(f"rollback to savepoint {name}")
                    await self.execute(f"release savepoint {name}")
                raise
            await self.execute(f"release savepoint {name}")
        finally:
            self._depth -= 1

    def _refuse(self, error: Exception) -> NoReturn:
        state = _state_of(error)
        if state == _NO_TRANSACTION:
            raise no_transaction() from error
        if state == _FAILED:
            raise InvalidCallError(
                "connection= has a transaction in which a statement has failed, so it can only be "
                "rolled back. Nothing was enqueued."
            ) from error
        if state == MOVED_STATE:
            raise self._moved(error) from error
        if state in _NOT_THERE:
            raise self.other_database() from error
        if state == _NOT_ALLOWED:
            raise InvalidCallError(
                "The user of connection= may not write the tables of the queue on "
                f"{self._address}: {error}. What it needs: grant usage on schema wopr to …; grant "
                "select, insert, update, delete on all tables in schema wopr to …; grant usage on "
                "all sequences in schema wopr to …. Nothing was enqueued."
            ) from error
        said = " ".join(str(error).split()) or type(error).__name__
        raise StorageError(
            f"The task can't be part of the transaction of connection= ({said}). What this call "
            "did was taken back; whether the transaction can go on, the server knows."
        ) from error

    def _moved(self, error: Exception) -> StorageError:
        if (moving := Moving.said(str(error))) is not None:
            return moving.gone()
        return StorageError(  # it is older than the move, and can't see it
            f"The queue has moved away from {self._address} since the transaction of connection= "
            "began. Nothing was enqueued. Begin it anew."
        )

    def other_database(self) -> InvalidCallError:
        """Return the error that the connection leads elsewhere."""
        return InvalidCallError(
            f"connection= leads to another database than that of this queue, {self._address}: its "
            "tables are not there, so no transaction there can have its tasks. Nothing was "
            "enqueued. Connect to the database of the queue, or use an outbox: "
            "docs/guides/outbox.md"
        )


class _Answer:
    """The rows of a statement, as a cursor has them."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def fetchall(self) -> Rows:
        """Return all of them."""
        return self._rows


def _state_of(error: BaseException) -> str | None:
    """Return PostgreSQL's own code of an error, whatever wraps it."""
    for one in (error, getattr(error, "orig", None), error.__cause__):
        for name in ("sqlstate", "pgcode"):
            found = getattr(one, name, None)
            if isinstance(found, str):
                return found
    return None
