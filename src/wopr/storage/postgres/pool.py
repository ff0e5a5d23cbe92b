"""Connections that are used again, so many at most.

Who finds none free makes one, so it hears itself what is wrong with the server, and nobody waits
for an attempt that somebody else makes later.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

IDLE_SECONDS = 60.0
"""A free connection that nobody wanted for so long is closed."""


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

    @contextlib.asynccontextmanager
    async def lent(self, seconds: float) -> AsyncIterator[Any]:
        """Lend a connection; one that is not as it was is closed then.

        Raises:
            TimeoutError: all are in use for so long.
        """
        if self._room.locked():
            async with asyncio.timeout(seconds):
                await self._room.acquire()
        else:
            await self._room.acquire()
        connection: Any = None
        try:
            connection = self._taken() or await self._connect()
            yield connection
        finally:
            try:
                if connection is not None:
                    await self._back(connection)
            finally:
                self._room.release()

    def _taken(self) -> Any:
        while self._free:
            connection, _ = self._free.pop()
            if not connection.closed:
                return connection
        return None

    async def _back(self, connection: Any) -> None:
        now = asyncio.get_running_loop().time()
        usable = not connection.closed and connection.info.transaction_status == 0  # it is idle
        if usable and not self.closed:
            self._free.append((connection, now))
        else:
            await _end(connection)
        while self._free and now - self._free[0][1] > IDLE_SECONDS and len(self._free) > 1:
            await _end(self._free.pop(0)[0])

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
