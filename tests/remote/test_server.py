"""The owner's socket by itself."""

from __future__ import annotations

import asyncio
import gc
import socket
from pathlib import Path
from typing import Any, cast

import pytest

from wopr.ports.backend import Backend
from wopr.remote import server as served
from wopr.remote.protocol import socket_path
from wopr.remote.server import Server

TURNS = range(6)
"""Of the event loop, after which a connection is under way. With the later ones it is served."""


@pytest.mark.parametrize("turns", TURNS)
async def test_a_client_that_comes_while_the_owner_closes_is_let_go(
    tmp_path: Path, turns: int
) -> None:
    database = tmp_path / "queue.duckdb"
    server = Server(cast("Backend", Any), database, lambda: False)
    await server.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(socket_path(database))
        client.settimeout(10)
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.create_task(server.leave())
        assert await asyncio.to_thread(is_let_go, client)
    gc.collect()  # a socket that was left open would be an error now


def is_let_go(client: socket.socket) -> bool:
    """Tell whether the other side has hung up, however it did that."""
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("said", [b"", b'{"id": 1, "verb": "hel'])
async def test_who_never_says_hello_is_let_go_and_takes_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(served, "GREETS_SECONDS", 0.05)
    database = tmp_path / "queue.duckdb"
    server = Server(cast("Backend", Any), database, lambda: False)
    await server.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(socket_path(database))
        client.settimeout(10)
        client.sendall(said)
        assert await asyncio.to_thread(is_let_go, client)
    await server.leave()
