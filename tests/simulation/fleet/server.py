"""A simulated server of PostgreSQL, and connections to it that look like those of psycopg.

What a host sends travels for a while, is carried out, and travels back, though the host has
died meanwhile. Connections are cut before and after the server's work, or fall silent; the server
restarts; notices get lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import psycopg
from psycopg import errors

from simulation.fleet.asked import Now, Rows
from simulation.fleet.tables import BlockedError, Tables, Transaction
from simulation.fleet.verbs import VERBS
from wopr.storage.postgres import connections, schema

STATEMENT_SECONDS = float(connections.LONGEST_STATEMENT)
PAUSE_SECONDS = float(connections.LONGEST_PAUSE)
SILENCE_SECONDS = float(connections.SILENCE_SECONDS)
_NOTIFY = "pg_notify("


@dataclass(frozen=True)
class Weather:
    """How often something goes wrong: chances, at each statement or notice."""

    cut_before: float = 0.0
    """The connection breaks, and the server never gets to know the statement."""
    cut_after: float = 0.0
    """The connection breaks when the server has done it, and nobody hears so."""
    silent: float = 0.0
    """Nothing comes back, until the host gives the connection up."""
    slow: float = 0.0
    slowest: float = 2.0
    """Seconds on the way, at most, where it is slow."""
    deaf: float = 0.0
    """A notice is not heard."""


CALM = Weather()


@dataclass(eq=False)
class Session:
    """What the server knows of a connection."""

    transaction: Transaction | None = None
    failed: bool = False
    """Whether its transaction can only be rolled back."""
    listens: bool = False
    alive: bool = True
    turn: int = 0
    """Counts statements, so that who looks later knows whether there was another one."""
    waiting: Transaction | None = None
    """The transaction of a statement that waits for a lock."""


@dataclass(eq=False)
class Asked:
    """A statement on its way."""

    connection: Connection
    text: str
    values: dict[str, Any]
    answer: asyncio.Future[Cursor]
    after: str = ""
    """What happens when it was carried out: nothing, ``cut`` or ``silent``."""


class Server:
    """Carries statements out, one after the other.

    Args:
        at: has something called so many seconds later.
        now: the time, aware.
        rng: says what happens.
    """

    def __init__(
        self,
        at: Callable[[float, Callable[[], None]], None],
        now: Callable[[], datetime],
        rng: random.Random,
    ) -> None:
        self.tables = Tables()
        self.weather = CALM
        self.up = True
        self.statements = 0
        self._at, self._now, self._rng = at, now, rng
        self.started = now()
        self._connections: dict[Connection, None] = {}  # in order, for a seed does the same again
        first = Transaction(self.tables)
        for key, value in {"version": schema.head(), "rules": "0", "identity": "simulated"}.items():
            first.put("meta", key, {"key": key, "value": value})
        first.commit()

    def way(self) -> float:
        """Return how long something is on its way."""
        if self._rng.random() < self.weather.slow:
            return self._rng.random() ** 2 * self.weather.slowest
        return self._rng.choice([0.0002, 0.0005, 0.001])

    # -- connections ----------------------------------------------------------------

    def meet(self, loop: asyncio.AbstractEventLoop, made: asyncio.Future[Connection]) -> None:
        """Give a host a connection, or tell it that there is none."""
        if made.done():
            return
        if not self.up:
            made.set_exception(psycopg.OperationalError("the server is starting up"))
            return
        new = Connection(self, loop)
        self._connections[new] = None
        made.set_result(new)

    def connect(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Connection]:
        """Return a connection, soon."""
        made: asyncio.Future[Connection] = loop.create_future()
        self._at(self.way(), lambda: self.meet(loop, made))
        return made

    def restart(self, seconds: float) -> None:
        """Die, and be back some seconds later."""
        self.up = False
        for connection in list(self._connections):
            self.cut(connection)

        def rise() -> None:
            self.up, self.started = True, self._now()

        self._at(seconds, rise)

    def cut(self, connection: Connection) -> None:
        """End a connection, on both sides."""
        self.bury(connection)
        connection.broke()

    def bury(self, connection: Connection) -> None:
        """End the server's side of a connection: what was not committed is gone."""
        session = connection.session
        session.alive = False
        self._connections.pop(connection, None)
        for one in (session.transaction, session.waiting):
            if one is not None:
                one.end()
        session.transaction = session.waiting = None

    # -- statements -----------------------------------------------------------------

    def send(self, asked: Asked) -> None:
        """Take a statement on its way."""
        chance, weather = self._rng.random(), self.weather
        if chance < weather.cut_before:
            self._at(self.way(), lambda: self.cut(asked.connection))
            return
        chance -= weather.cut_before
        if chance < weather.cut_after:
            asked.after = "cut"
        elif chance < weather.cut_after + weather.silent:
            asked.after = "silent"
        self._at(self.way(), lambda: self._arrive(asked))

    def _arrive(self, asked: Asked) -> None:
        session = asked.connection.session
        session.turn += 1
        turn = session.turn
        self._carry_out(asked)

        def give_up() -> None:
            if session.waiting is not None and session.turn == turn:
                self._fail(asked, session.waiting, errors.QueryCanceled("it took too long"))

        if session.waiting is not None:
            self._at(STATEMENT_SECONDS, give_up)

    def _carry_out(self, asked: Asked) -> None:
        session = asked.connection.session
        if not session.alive:
            return None
        self.statements += 1
        own = session.transaction
        tx = session.waiting or own or Transaction(self.tables)
        session.waiting = None
        tx.waits_for = None
        if session.failed and asked.text not in {"rollback", "commit"}:
            return self._fail(asked, tx, errors.InFailedSqlTransaction("it has failed"))
        try:
            rows = self._rows(asked, session, tx)
        except BlockedError as blocked:
            session.waiting = tx
            if tx.waits_in_a_circle(blocked.holder):
                return self._fail(asked, tx, errors.DeadlockDetected("they wait in a circle"))
            tx.waits_for = blocked.holder
            blocked.holder.waiters.append(lambda: self._again(asked, tx))
            return None
        except psycopg.Error as error:
            return self._fail(asked, tx, error)
        if session.transaction is None and not tx.over:
            tx.commit()
        return self._answer(asked, lambda: asked.answer.set_result(Cursor(rows)))

    def _again(self, asked: Asked, tx: Transaction) -> None:
        """Begin a statement anew that has waited, if it still does."""
        if asked.connection.session.waiting is tx and not tx.over:
            self._at(0.0, lambda: self._once_more(asked, tx))

    def _once_more(self, asked: Asked, tx: Transaction) -> None:
        if asked.connection.session.waiting is tx:
            self._carry_out(asked)

    def _fail(self, asked: Asked, tx: Transaction, error: Exception) -> None:
        session = asked.connection.session
        session.waiting = None
        tx.end()
        session.failed = session.transaction is not None
        self._answer(asked, lambda: asked.answer.set_exception(error))

    def _rows(self, asked: Asked, session: Session, tx: Transaction) -> Rows:
        text = asked.text
        if text == "begin":
            session.transaction = tx
        elif text in {"commit", "rollback"}:
            if text == "commit" and not session.failed:
                tx.commit()
            tx.end()
            session.transaction, session.failed = None, False
        elif text.startswith("listen "):
            session.listens = True
        elif _NOTIFY in text:
            self._call_out(asked.values["notices"])
        elif text.startswith("set "):
            pass
        elif text == schema._ARE_THERE:
            return [(True,)]
        else:
            verb = VERBS.get(text)
            assert verb is not None, f"the simulated server does not know: {text}"
            return verb(Now(tx, asked.values, self._now(), self.started))
        return []

    def _answer(self, asked: Asked, give: Callable[[], None]) -> None:
        connection, session = asked.connection, asked.connection.session
        if asked.after == "cut":
            self._at(self.way(), lambda: self.cut(connection))
            return
        if asked.after == "silent":
            self._at(SILENCE_SECONDS, lambda: self.cut(connection))
            return
        turn = session.turn

        def arrive() -> None:
            if not asked.answer.done() and not connection.closed:
                give()

        def too_long() -> None:
            if session.alive and session.transaction is not None and session.turn == turn:
                self.cut(connection)

        self._at(self.way(), arrive)
        if session.transaction is not None:
            self._at(PAUSE_SECONDS, too_long)

    def _call_out(self, notices: list[str]) -> None:
        for connection in self._connections:
            if connection.session.listens:
                for one in notices:
                    if self._rng.random() >= self.weather.deaf:
                        self._at(self.way(), lambda c=connection, one=one: c.hear(one))  # type: ignore[misc]


class Cursor:
    """What a statement came to."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.description = ()

    async def fetchall(self) -> Rows:
        """Return its rows."""
        return self._rows

    async def fetchone(self) -> Any:
        """Return its first row."""
        return self._rows[0] if self._rows else None


@dataclass(eq=False)
class Connection:
    """The host's side of a connection."""

    server: Server
    loop: asyncio.AbstractEventLoop
    session: Session = field(default_factory=Session)
    closed: bool = False
    info: Any = field(default_factory=lambda: SimpleNamespace(server_version=150_000))
    _answer: asyncio.Future[Any] | None = None
    _heard: list[str] = field(default_factory=list)
    _rings: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pgconn(self) -> Any:
        """What the pool asks whether a transaction goes on: 0 says that none does."""
        return SimpleNamespace(transaction_status=int(self.session.transaction is not None))

    async def execute(self, text: str, values: dict[str, Any] | None = None) -> Cursor:
        """Have a statement carried out."""
        if self.closed:
            raise psycopg.OperationalError("the connection is closed")
        answer: asyncio.Future[Cursor] = self.loop.create_future()
        self._answer = answer
        self.server.send(Asked(self, text, values or {}, answer))
        try:
            return await answer
        except asyncio.CancelledError:
            if not self.closed:
                self.server.cut(self)  # it could not be said what came of it
            raise

    async def executemany(self, text: str, rows: list[dict[str, Any]]) -> None:
        """Have one statement after the other carried out."""
        for row in rows:
            await self.execute(text, row)

    @contextlib.asynccontextmanager
    async def cursor(self) -> AsyncIterator[Connection]:
        """Give what carries statements out."""
        yield self

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Give a transaction for a block."""
        await self.execute("begin")
        try:
            yield
        except BaseException:
            if not self.closed:
                with contextlib.suppress(psycopg.Error):
                    await self.execute("rollback")
            raise
        await self.execute("commit")

    async def notifies(self, *, timeout: float) -> AsyncIterator[Any]:
        """Give notices until none has come for so long."""
        while True:
            self._rings.clear()
            heard, self._heard = self._heard, []
            for one in heard:
                yield SimpleNamespace(payload=one)
            if self.closed:
                raise psycopg.OperationalError("the connection is lost")
            if not self._heard:
                try:
                    async with asyncio.timeout(timeout):
                        await self._rings.wait()
                except TimeoutError:
                    return

    def hear(self, notice: str) -> None:
        """Take a notice."""
        if not self.closed:
            self._heard.append(notice)
            self._rings.set()

    def broke(self) -> None:
        """Take note that it is gone."""
        self.closed = True
        self._rings.set()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(psycopg.OperationalError("the connection is lost"))

    async def close(self) -> None:
        """End it."""
        if not self.closed:
            self.closed = True
            self.server.bury(self)

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Driver:
    """psycopg, but for its connections."""

    def __init__(self, connect: Callable[[], asyncio.Future[Connection]]) -> None:
        async def connected(**_: Any) -> Connection:
            return await connect()

        self.AsyncConnection = SimpleNamespace(connect=connected)

    def __getattr__(self, name: str) -> Any:
        return getattr(psycopg, name)
