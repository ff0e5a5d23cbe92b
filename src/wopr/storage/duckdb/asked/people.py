"""The threads that run people's queries: nobody waits for one that DuckDB can't stop.

Each query has a thread and a cursor of its own. One whose time is over is interrupted; if it goes
on all the same, its caller hears of it, its thread is left to itself, and neither another query
nor a commit nor the end of the queue waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

import duckdb

from wopr.domain.errors import QueryTimeoutError, StorageError
from wopr.storage.duckdb.file.opening import OpenedDatabase

log = logging.getLogger(__name__)

T = TypeVar("T")
Read = Callable[[duckdb.DuckDBPyConnection], T]

MOST = 8
"""So many queries of people run at once, those included that can't be stopped."""
SPARE = 4
"""So many more, if wopr itself asks: what people can't stop keeps no page from them."""
BEGINS_SECONDS = 0.5
"""So long a query waits for a thread; then it is run elsewhere."""
STOPS_SECONDS = 0.25
"""So long an interrupted query may take to end before it counts as one that can't be stopped."""
AGAIN_SECONDS = 0.05
MOST_SECONDS = 5.0
"""So long, twice as long each time up to the latter, until it is interrupted again."""
CLOSES_SECONDS = 1.0
"""So long the end of the queue waits for the queries that it interrupted,"""
OWN_CLOSES_SECONDS = 10.0
"""and so long for wopr's own: those end, however busy the machine is."""


class CrowdedError(Exception):
    """All threads are taken, and stay so."""


class Asker:
    """A thread and a cursor, for one query at a time."""

    def __init__(self, opened: OpenedDatabase) -> None:
        self._opened = opened
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._running: Future[Any] | None = None
        self._lock = threading.Lock()  # who is interrupted is the one that was meant
        self.own = False
        """Whether it is wopr itself that asks."""
        self.idle = threading.Event()
        threading.Thread(target=self._work, name="wopr-sql", daemon=True).start()

    def submit(self, read: Read[T], *, own: bool) -> Future[T]:
        """Run something with the cursor; the thread must be idle."""
        future: Future[T] = Future()
        self.own = own
        self.idle.clear()
        self._running = future

        def order() -> None:
            try:
                result = self._run(read)
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                self._over()
                future.set_exception(error)
            else:
                self._over()
                future.set_result(result)

        self._orders.put(order)
        return future

    def interrupt(self, future: Future[Any] | None = None, *, own: bool = True) -> None:
        """Stop what is being read, if DuckDB can; with ``future`` only if it is that.

        Args:
            future: of what is to be stopped.
            own: whether it is stopped also if wopr itself asks.
        """
        with self._lock:
            running = self._running is not None and future in (None, self._running)
            if running and (own or not self.own) and self._cursor is not None:
                with contextlib.suppress(duckdb.ConnectionException):  # closed with its connection
                    self._cursor.interrupt()

    def end(self, seconds: float) -> bool:
        """End the thread; return whether it has nothing of the database any more."""
        self._orders.put(None)
        until = time.monotonic() + seconds
        while not (ended := self.idle.wait(AGAIN_SECONDS)) and time.monotonic() < until:
            self.interrupt()
        cursor, self._cursor = self._cursor, None
        if ended and cursor is not None:
            cursor.close()
        return ended

    def _run(self, read: Read[T]) -> T:
        try:
            if self._cursor is None:
                self._cursor = _cursor(self._opened)
            return read(self._cursor)
        except duckdb.Error as error:
            self._cursor = None
            raise StorageError(
                f"Reading the database failed: {error}. Nothing is lost; the read can be "
                "repeated. If it goes on, run: wopr doctor"
            ) from error

    def _over(self) -> None:
        with self._lock:
            self._running = None
        self.idle.set()

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            order()
            del order  # with what its caller gave


class People:
    """Runs queries in time, in as many threads as it takes."""

    def __init__(self, opened: OpenedDatabase) -> None:
        self._opened = opened
        self._askers: list[Asker] = []
        self._lock = threading.Lock()

    async def ask(self, read: Read[T], left: float, seconds: float, *, own: bool = False) -> T:
        """Run ``read`` in a thread and return its result, or raise when the time is over.

        Args:
            read: what to do with a cursor.
            left: so many seconds it has.
            seconds: what the whole query had, for the error.
            own: whether wopr itself asks.

        Raises:
            QueryTimeoutError: it took too long.
            CrowdedError: others did that can't be stopped, so it never began.
        """
        until = time.monotonic() + left
        asker, future = await self._begun(read, until, own)
        waiting = asyncio.wrap_future(future)
        waiting.add_done_callback(_heard)
        try:
            await asyncio.wait({waiting}, timeout=max(0.0, until - time.monotonic()))
            if waiting.done():
                return waiting.result()
            _stop(asker, future)
            await asyncio.wait({waiting}, timeout=STOPS_SECONDS)
            raise late(seconds)
        except asyncio.CancelledError:
            _stop(asker, future)
            raise

    async def _begun(self, read: Read[T], until: float, own: bool) -> tuple[Asker, Future[T]]:  # noqa: FBT001
        most = MOST + SPARE if own else MOST
        if not own:  # what wopr itself asks ends, and can't be run elsewhere
            until = min(until, time.monotonic() + BEGINS_SECONDS)
        while True:
            with self._lock:
                idle = next((one for one in self._askers if one.idle.is_set()), None)
                if idle is None and len(self._askers) < most:
                    idle = Asker(self._opened)
                    self._askers.append(idle)
                if idle is not None:
                    return idle, idle.submit(read, own=own)
            if time.monotonic() > until:
                raise CrowdedError(
                    f"{most} other queries were running, so this one never began. Those that "
                    "DuckDB can't stop end with this process at the latest; run such queries "
                    "with wopr sql, which stops them by force."
                )
            await asyncio.sleep(0.01)

    async def clear(self) -> None:
        """Stop what people read, and wait a moment for its end.

        What wopr itself reads goes on: it would stop the others in its turn, and they it.
        """
        stopped = [one for one in list(self._askers) if not (one.own or one.idle.is_set())]
        for asker in stopped:
            asker.interrupt(own=False)
        until = time.monotonic() + STOPS_SECONDS
        for asker in stopped:
            await asyncio.to_thread(asker.idle.wait, max(0.0, until - time.monotonic()))

    def interrupt(self) -> None:
        """Stop all that is being read: it ends in an error there."""
        for asker in list(self._askers):
            asker.interrupt()

    def let_go(self) -> None:
        """Close the cursors, so that the database can be closed and opened again."""
        with self._lock:
            askers, self._askers = self._askers, []
        for asker in askers:
            asker.interrupt()  # all at once
        began = time.monotonic()
        left = [
            one
            for one in sorted(askers, key=lambda one: one.own)
            if not one.end(
                began + (OWN_CLOSES_SECONDS if one.own else CLOSES_SECONDS) - time.monotonic()
            )
        ]
        if left:
            log.warning(
                "%d queries run on although they were interrupted, because DuckDB can't stop what "
                "they do. They are left behind and end with this process at the latest.",
                len(left),
            )


def _cursor(opened: OpenedDatabase) -> duckdb.DuckDBPyConnection:
    """Return a cursor that nobody waits for when the database is closed."""
    if not opened.is_connected:
        raise StorageError(f"{opened.path} failed and is being opened again; read it again soon.")
    return opened.connection.cursor()


def late(seconds: float) -> QueryTimeoutError:
    """Return the error for a query whose time is over."""
    return QueryTimeoutError(
        f"The query took longer than {seconds:g} s and was stopped. Narrow it, or allow more with "
        "WOPR_TASKS_QUERY_SECONDS."
    )


def _stop(asker: Asker, future: Future[Any], again: float = AGAIN_SECONDS) -> None:
    """Interrupt a query until it ends: between two statements an interrupt has no effect."""
    if not future.done():
        asker.interrupt(future)
        loop = asyncio.get_running_loop()
        loop.call_later(again, _stop, asker, future, min(2 * again, MOST_SECONDS))


def _heard(future: asyncio.Future[T]) -> None:
    """Look at an error that nobody waits for any more."""
    if not future.cancelled():
        future.exception()
