"""How much a server may send at once: it comes past a meter, and ends when it is too much.

The client library reads a row, or an error with the value that it is about, as one message, and
nobody sees it before its last byte: ``repeat('x', 600000000)`` is little work for the server, and
600 MB here. So the socket of the library is put behind another one, and what comes is counted on
its way in between, encrypted or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

from wopr.config.hangup import hang_up
from wopr.domain.errors import QueryError

GOODBYE_SECONDS = 1.0
"""So long the last that the library says is on its way to the server, at most."""
_CHUNK = 64 * 1024


class Meter:
    """Counts what comes, from one row to the next.

    Args:
        most: so many bytes may come at once; then the connection breaks.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0

    def next(self) -> None:
        """Let another row come."""
        if not self.is_over:
            self._size = 0

    def count(self, size: int) -> None:
        """Count what has come."""
        self._size += size

    @property
    def is_over(self) -> bool:
        """Whether more came than may."""
        return self._size > self._most

    def error(self) -> QueryError:
        """Return what is told to who asked."""
        return QueryError(
            "One row of the answer, or the server's error about one value, has more than "
            f"{self._most:,} bytes, so the query was stopped before all of it was here. Ask for a "
            "part of the value, left(result, 1000) say, or for its octet_length()."
        )


@contextlib.asynccontextmanager
async def metered(connection: Any, most: int) -> AsyncIterator[Meter]:
    """Have what the server sends counted; the connection is closed at the end."""
    meter = Meter(most)
    if sys.platform == "win32":
        yield meter
        return
    with contextlib.ExitStack() as ends:
        streams = []
        for one in _between(connection.pgconn.socket, ends):
            streams.append(await asyncio.open_connection(sock=one))
            ends.callback(hang_up, streams[-1][1].transport)
        (from_server, to_server), (from_library, to_library) = streams
        pumps = [
            asyncio.ensure_future(_pump(from_server, to_library, meter)),
            asyncio.ensure_future(_pump(from_library, to_server, None)),
        ]
        try:
            yield meter
        finally:
            await connection.close()
            # It says goodbye: a server logs whoever leaves a transaction without a word.
            await asyncio.wait(pumps[1:], timeout=GOODBYE_SECONDS)
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)


def _between(descriptor: int, ends: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    """Return the socket to the server, and one to the library, which now has its other end.

    Both are closed when ``ends`` are.
    """
    inner, theirs = socket.socketpair()
    outer = socket.socket(fileno=os.dup(descriptor))
    for one in (outer, inner):
        ends.callback(one.close)
    theirs.setblocking(False)
    os.dup2(theirs.fileno(), descriptor, inheritable=False)
    theirs.close()
    for one in (outer, inner):
        one.setblocking(False)
    return outer, inner


async def _pump(
    coming: asyncio.StreamReader, going: asyncio.StreamWriter, meter: Meter | None
) -> None:
    """Hand on what comes until one side ends, or it is too much; then the other side ends."""
    try:
        with contextlib.suppress(OSError):
            while content := await coming.read(_CHUNK):
                if meter is not None:
                    meter.count(len(content))
                    if meter.is_over:
                        return
                going.write(content)
                await going.drain()
    finally:
        going.close()
