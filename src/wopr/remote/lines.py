"""The lines of a socket: those that need no waiting are taken in the turn in which they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from wopr.remote import protocol
from wopr.remote.size import LARGE

Connected = Callable[
    ["Lines", asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]
]


class Lines(asyncio.StreamReaderProtocol):
    """Reads a socket for a stream's reader, and lets somebody have each line before it.

    To wake the task that reads the stream, and that one's own tasks, takes the event loop a turn
    each, which is most of what a small call costs.

    Args:
        connected: serves the other side, in a task of its own; ``None``: nobody does.
    """

    def __init__(self, connected: Connected | None = None) -> None:
        self.reader = asyncio.StreamReader(limit=protocol.LONGEST_LINE)
        self.first: Callable[[bytes, bool], bool] | None = None
        """Takes a line, unless that needs waiting; told whether it came alone."""
        self._connected = connected
        self._behind = 0  # bytes that the stream has, whose lines are not carried out yet
        super().__init__(self.reader, None if connected is None else self._serve)

    def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Coroutine[Any, Any, None]:
        assert self._connected is not None, "it is called for that"
        return self._connected(self, reader, writer)

    def done(self, size: int) -> None:
        """Note that a line of the stream, of so many bytes, holds up the next one no more."""
        self._behind -= size

    def data_received(self, data: bytes) -> None:
        """Give lines away, and what nobody takes, with all that follows, to the stream."""
        if self.first is not None and not self._behind:
            data = self._left(self.first, data)
        if data:
            self._behind += len(data)
            super().data_received(data)

    @staticmethod
    def _left(first: Callable[[bytes, bool], bool], data: bytes) -> bytes:
        start, end = 0, data.find(b"\n")
        alone = end == len(data) - 1
        while start <= end <= start + LARGE and first(data[start:end], alone):
            start = end + 1
            end = data.find(b"\n", start)
        return data[start:] if start else data
