"""What stands between a host and its server, and knows PostgreSQL's protocol a little.

It counts what a client asks for, and at one of these it kills, cuts or holds: before the server
gets it, or when the server has done it and nobody has heard so. Else it lets all through, delays,
or lets through in one direction only.
"""

from __future__ import annotations

import asyncio
import enum
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from wopr.storage.postgres import (
    looks,
    newtasks,
    schedules,
    schema,
    selecting,
    statements,
)
from wopr.storage.postgres.moving import marks

CHUNK = 65_536


class When(enum.Enum):
    """On which side of the server's work something happens."""

    BEFORE = "before"
    """The server never gets to know."""
    AFTER = "after"
    """The server has done it, and the client is not told."""


class Line(enum.Enum):
    """What a line lets through."""

    OPEN = "open"
    DEAF = "deaf"
    """Nothing of what the server says."""
    MUTE = "mute"
    """Nothing of what the client says."""
    DEAD = "dead"


@dataclass
class Fault:
    """What happens at one step."""

    label: str
    number: int
    """At so many steps of this label."""
    when: When
    do: Callable[[], None] | None = None
    """What happens then."""
    cuts: bool = True
    """Whether this connection ends by it."""


@dataclass(eq=False)
class _Talk:
    """One client's connection."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    texts: dict[bytes, str] = field(default_factory=dict)
    """Prepared statements by name."""
    label: str = "?"
    swallow: Fault | None = None
    """Its answer goes nowhere."""

    def cut(self) -> None:
        """End it, without a word."""
        for side in (self.client, self.server):
            side.transport.abort()


class Proxy:
    """Listens on a port of its own, for one server.

    Args:
        target: the server's socket; it may be another one later.
        host: the address to listen on.
    """

    def __init__(self, target: Path, host: str = "127.0.0.1") -> None:
        self.target = target
        self.line = Line.OPEN
        self.delay = 0.0
        self.steps: Counter[str] = Counter()
        self.fault: Fault | None = None
        self._host = host
        self._talks: set[_Talk] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Server | None = None
        self._opened = asyncio.Event()
        self._opened.set()
        self.refuses = False
        """Whether nobody gets a connection."""

    async def start(self) -> None:
        """Listen."""
        self._listening = await asyncio.start_server(self._serve, self._host, 0)

    def address(self, database: str) -> str:
        """Return the address of a database behind it."""
        assert self._listening is not None
        port = self._listening.sockets[0].getsockname()[1]
        return (
            f"postgresql://wopr@{self._host}:{port}/{database}?sslmode=disable&gssencmode=disable"
        )

    async def close(self) -> None:
        """End all of it."""
        if self._listening is not None:
            self._listening.close()
        self.cut()
        self.switch(Line.OPEN)
        await asyncio.gather(*self._serving, return_exceptions=True)

    def cut(self) -> None:
        """End all connections."""
        for talk in list(self._talks):
            talk.cut()

    def switch(self, line: Line) -> None:
        """Let through what a line lets through, from now on; what was held goes on then."""
        self.line = line
        self._opened.set()
        self._opened = asyncio.Event()

    async def _serve(self, client: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            if self.refuses:
                raise ConnectionRefusedError
            reader, server = await asyncio.open_unix_connection(str(self.target))
        except OSError:
            writer.transport.abort()
            return
        talk = _Talk(writer, server)
        self._talks.add(talk)
        both = [
            asyncio.ensure_future(one)
            for one in (self._ask(talk, client), self._answer(talk, reader))
        ]
        try:
            await asyncio.gather(*both)
        except (OSError, asyncio.IncompleteReadError):
            """One of them has gone."""
        finally:
            talk.cut()
            self._talks.discard(talk)
            await asyncio.wait(both)

    async def _through(self, blocked: set[Line]) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        while self.line in blocked:
            await self._opened.wait()

    async def _ask(self, talk: _Talk, client: asyncio.StreamReader) -> None:
        """Bring what a client says to the server."""
        length = await client.readexactly(4)
        said = length + await client.readexactly(int.from_bytes(length) - 4)
        while True:
            await self._through({Line.MUTE, Line.DEAD})
            talk.server.write(said)
            await talk.server.drain()
            kind = await client.readexactly(1)
            length = await client.readexactly(4)
            rest = await client.readexactly(int.from_bytes(length) - 4)
            said = kind + length + rest
            self._note(talk, kind, rest)
            if kind in b"QS" and (fault := self._due(talk.label)) is not None:
                if fault.when is When.BEFORE:
                    _happen(fault, talk)
                    if fault.cuts:
                        return
                else:
                    talk.swallow = fault

    def _note(self, talk: _Talk, kind: bytes, rest: bytes) -> None:
        """Remember which statement it is about."""
        if kind == b"P":
            name, text = rest.split(b"\0")[:2]
            talk.texts[name] = text.decode()
            talk.label = label_of(talk.texts[name])
        elif kind == b"B":
            talk.label = label_of(talk.texts.get(rest.split(b"\0")[1], "?"))
        elif kind == b"Q":
            talk.label = label_of(rest.rstrip(b"\0").decode())

    def _due(self, label: str) -> Fault | None:
        self.steps[label] += 1
        fault = self.fault
        if fault is None or fault.label != label or self.steps[label] < fault.number:
            return None
        self.fault = None
        return fault

    async def _answer(self, talk: _Talk, server: asyncio.StreamReader) -> None:
        """Bring what the server says to the client."""
        left = whole = b""
        while data := await server.read(CHUNK):
            await self._through({Line.DEAF, Line.DEAD})
            if talk.swallow is None:
                talk.client.write(data)
                await talk.client.drain()
                continue
            left += data
            whole += data
            while len(left) >= 5 and len(left) > int.from_bytes(left[1:5]):
                kind, left = left[:1], left[1 + int.from_bytes(left[1:5]) :]
                if kind == b"Z":  # it is ready for the next, so this is done
                    _happen(talk.swallow, talk)
                    if talk.swallow.cuts:
                        return
                    talk.swallow = None
                    talk.client.write(whole)
                    break
        raise ConnectionResetError


def _happen(fault: Fault, talk: _Talk) -> None:
    if fault.do is not None:
        fault.do()
    if fault.cuts:
        talk.cut()


_PARAMETER = re.compile(r"%\(\w+\)s|\$\d+|%s")


def _bare(text: str) -> str:
    return " ".join(_PARAMETER.sub("?", text.replace("%%", "%")).split())


_KNOWN = {
    _bare(text): name.strip("_").lower()
    for module in (statements, newtasks, looks, marks, schedules, selecting, schema)
    for name, text in vars(module).items()
    if isinstance(text, str) and name.isupper() and " " in text
}


def label_of(text: str) -> str:
    """Return the name of a statement; of one without a name, its first words."""
    bare = _bare(text)
    return _KNOWN.get(bare) or " ".join(bare.split()[:4])
