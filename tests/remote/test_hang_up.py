"""A connection that has ended by itself can be hung up all the same."""

from __future__ import annotations

import ast
import asyncio
import socket
from pathlib import Path

import wopr
from support.queues import PATIENCE
from wopr.config.hangup import hang_up

UNSENT = b"x" * 4_000_000


class Ends(asyncio.Protocol):
    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


async def connected() -> tuple[asyncio.WriteTransport, Ends, socket.socket]:
    """Return what is being closed with bytes unsent, and the socket that gets them."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(Ends, sock=ours)
    transport.write(UNSENT)
    transport.close()
    return transport, protocol, theirs


async def test_what_was_closed_and_has_sent_its_last_since_is_hung_up() -> None:
    transport, protocol, theirs = await connected()
    loop, taken = asyncio.get_running_loop(), 0
    async with asyncio.timeout(PATIENCE):
        while taken < len(UNSENT):
            taken += len(await loop.sock_recv(theirs, len(UNSENT)))
        await protocol.ended.wait()
    hang_up(transport)
    hang_up(transport)
    theirs.close()


async def test_what_its_peer_does_not_read_is_hung_up() -> None:
    transport, protocol, theirs = await connected()
    hang_up(transport)
    async with asyncio.timeout(PATIENCE):
        await protocol.ended.wait()
    hang_up(transport)
    theirs.close()


def test_nothing_else_hangs_up() -> None:
    """All of wopr does it in the one place that knows what may be wrong."""
    root = Path(wopr.__file__).parent
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "abort"
    }
    assert {"config/hangup.py"} == found
