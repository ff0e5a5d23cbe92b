"""Connections that are used again, so many at most.

Who finds none free makes one, so it hears itself what is wrong with the server, and nobody waits
for an attempt that somebody else makes later.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

WATCH_SECONDS = 0.1
"""So much later than it should something is ended, at most."""
IDLE_SECONDS = 60.0
"""A free connection that nobody wanted for so long is closed."""

_IDLE = 0
"""As libpq calls a connection that is in no transaction."""


class Pool:
    """The connections of one event loop.

    Args:
        connect: makes a connection.
        most: so many at once; who needs one more waits.
    """

    def __init__(self, connect: Callable[[], Awaitable[Any]], most: int) -> None:
        self._connect = connect
        self._free: list[tuple[Any, float]] = []
        """With the time when they became free; who wants one takes the last."""
        self._room = asyncio.Semaphore(most)
        self.most = most
        self.closed = False

    @property
    def full(self) -> bool:
        """Whether all are in use."""
        return self._room.locked()

    async def take(self, seconds: float) -> Any:
        """Take a connection, to be given back.

        Raises:
            TimeoutError: all are in use for so long.
        """
        if self._room.locked():
            async with asyncio.timeout(seconds):
                await self._room.acquire()
        else:
            await self._room.acquire()
        try:
            while self._free:
                connection, _ = self._free.pop()
                if not connection.closed:
                    return connection
            return await self._connect()
        except BaseException:
            self._room.release()
            raise

    async def give(self, connection: Any) -> None:
        """Give a connection back; one that is not as it was is closed."""
        try:
            usable = not connection.closed and connection.pgconn.transaction_status == _IDLE
            if usable and not self.closed:
                now = asyncio.get_running_loop().time()
                self._free.append((connection, now))
                if now - self._free[0][1] > IDLE_SECONDS and len(self._free) > 1:
                    await _end(self._free.pop(0)[0])
            else:
                await _end(connection)
        finally:
            self._room.release()

    async def drop(self) -> None:
        """Close those that are free: one that broke was hardly the only one."""
        free, self._free = self._free, []
        for connection, _ in free:
            await _end(connection)

    async def close(self) -> None:
        """Close what is free now, and what is lent when it comes back. Idempotent."""
        self.closed = True
        await self.drop()


async def _end(connection: Any) -> None:
    with contextlib.suppress(Exception):  # it goes away, however it is
        await connection.close()


class Watch:
    """Ends what goes on for too long: one timer for all, as most of it is over at once."""

    def __init__(self) -> None:
        self._under_way: dict[asyncio.Timeout, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, until: float) -> asyncio.Timeout:
        """Return what is to be entered, and ended with :meth:`end`."""
        new = asyncio.timeout(None)
        self._under_way[new] = until
        if self._timer is None:
            self._arm()
        return new

    def end(self, one: asyncio.Timeout) -> None:
        """Watch it no more."""
        del self._under_way[one]

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for one, until in self._under_way.items():
            if until <= now:
                self._under_way[one] = float("inf")  # it ends now, however long that takes
                one.reschedule(now)
        if self._under_way:
            self._arm()
