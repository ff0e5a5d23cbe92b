"""A client that writes to the owner's socket what it likes, as a program of the same user can."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from support.queues import PATIENCE
from wopr.remote.protocol import LONGEST_LINE, socket_path

NEW: dict[str, Any] = {
    "name": "double",
    "category": "default",
    "priority": 2,
    "max_retries": 0,
    "args": "[1]",
    "kwargs": "{}",
    "run_at": None,
    "unique_key": None,
    "on_conflict": "skip",
    "options": None,
    "depends_on": [],
    "flow_id": None,
    "schedule": None,
    "scheduled_for": None,
    "id": None,
}
"""A new task as it travels."""
ALL: dict[str, Any] = {
    **dict.fromkeys(("category", "status", "name", "flow_id", "schedule", "before_seq")),
    "limit": 100,
    "offset": 0,
}
"""A filter as it travels."""


def moment(text: str) -> dict[str, str]:
    """Return a datetime as it travels."""
    return {"$type": "datetime", "value": text}


class Wire:
    """One connection, and nothing that keeps it from sending nonsense."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._numbers = itertools.count(1)

    def line(self, verb: Any, *params: Any) -> bytes:
        """Return a request as it travels, with a number of its own."""
        message = {"id": next(self._numbers), "verb": verb, "params": list(params)}
        return json.dumps(message).encode() + b"\n"

    def send(self, verb: Any, *params: Any) -> int:
        """Ask without waiting for the answer; return the number of the request."""
        number = next(self._numbers)
        message = {"id": number, "verb": verb, "params": list(params)}
        self.writer.write(json.dumps(message).encode() + b"\n")
        return number

    def listen(self, *, on: bool) -> None:
        """Take nothing more off the socket, or go on."""
        transport: Any = self.writer.transport
        (transport.resume_reading if on else transport.pause_reading)()

    async def answer(self) -> dict[str, Any]:
        """Return the next answer."""
        line = await asyncio.wait_for(self.reader.readline(), PATIENCE)
        assert line, "the owner hung up"
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def ask(self, verb: Any, *params: Any) -> dict[str, Any]:
        """Ask and return the answer."""
        number = self.send(verb, *params)
        answer = await self.answer()
        assert answer["id"] in {number, None}
        return answer


@contextlib.asynccontextmanager
async def wire(database: Path) -> AsyncIterator[Wire]:
    """Connect to the owner of a file."""
    reader, writer = await asyncio.open_unix_connection(socket_path(database), limit=LONGEST_LINE)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
