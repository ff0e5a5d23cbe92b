"""An application that is served: what its connections may cost, and whose programs connect."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from wopr import InvalidCallError, TaskQueue
from wopr.remote.loopback import STATE
from wopr.service import appserver, connections
from wopr.service.appserver import AppServer, Place, place_at
from wopr.web import create_app

HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


async def _who(request: Request) -> Response:
    return PlainTextResponse(f"another user: {request.state._state[STATE]}")


def _app() -> Starlette:
    return Starlette(routes=[Route("/", _who)])


@pytest.fixture
async def server() -> AsyncIterator[AppServer]:
    served = AppServer(_app, place_at("127.0.0.1:0"))
    await served.start()
    yield served
    await served.stop()


async def connected(server: AppServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))


async def test_a_head_that_does_not_end_holds_no_connection(
    server: AppServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    for sent in (b"", HEAD, b"GET"):
        reader, writer = await connected(server)
        writer.write(sent)
        assert b"" == await ended(reader)
        writer.close()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the server hangs up."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_nor_does_a_second_one(server: AppServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    reader, writer = await connected(server)
    writer.write(HEAD + b"\r\n")
    assert b"200" in await reader.readline()
    await reader.readuntil(b"another user: False")
    writer.write(HEAD)
    assert b"" == await ended(reader)
    writer.close()


async def test_of_too_many_connections_one_without_a_request_is_closed(
    server: AppServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 2)
    quiet = [await connected(server) for _ in range(3)]
    ends = [asyncio.ensure_future(ended(reader)) for reader, _ in quiet]
    done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    assert 1 == len(done)
    for _, writer in quiet:
        writer.close()
    await asyncio.gather(*ends)


async def test_it_is_known_that_this_user_asks(server: AppServer) -> None:
    reader, writer = await connected(server)
    writer.write(HEAD + b"Connection: close\r\n\r\n")
    assert (await reader.read()).endswith(b"another user: False")
    writer.close()


ASKING = """
import encodings.idna, os, socket, sys
os.setuid(int(sys.argv[2]))
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    head = b"GET /api/v1/status HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n"
    connection.sendall(head)
    print(connection.recv(12).decode().partition(" ")[2])
"""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs two users")
async def test_another_user_of_this_machine_is_nobody(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "queue.duckdb")
    served = AppServer(lambda: create_app(queue), place_at("127.0.0.1:0"))
    async with queue:
        await served.start()
        told = []
        for user in (0, 65_534):
            port = served.url.rpartition(":")[2]
            command = [sys.executable, "-I", "-S", "-c", ASKING, port, str(user)]
            done = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, check=True
            )
            told.append(done.stdout.strip())
        await served.stop()
    assert ["200", "401"] == told


@pytest.mark.parametrize(
    ("place", "url", "beyond"),
    [
        (place_at("8800"), "http://127.0.0.1:8800", False),
        (place_at("[::1]:8800"), "http://[::1]:8800", False),
        (
            place_at("localhost:1", certificate=Path("c"), key=Path("k")),
            "https://localhost:1",
            False,
        ),
        (place_at("0.0.0.0:8800"), "http://0.0.0.0:8800", True),
        (place_at("[::]:8800"), "http://[::]:8800", True),
        (place_at("myhost:8800"), "http://myhost:8800", True),
        (Place(socket=Path("/run/w.sock")), "/run/w.sock", False),
    ],
)
def test_a_place_is_beyond_this_machine_or_not(place: Place, url: str, beyond: bool) -> None:
    assert (url, beyond) == (place.url, place.beyond)


async def test_what_can_t_be_served_is_told(server: AppServer, tmp_path: Path) -> None:
    with pytest.raises(InvalidCallError, match="--listen or --socket"):
        await AppServer(_app, place_at(server.url.removeprefix("http://"))).start()
    wrong = place_at("127.0.0.1:0", certificate=tmp_path / "none.pem", key=tmp_path / "none.pem")
    with pytest.raises(InvalidCallError, match="--tls-cert"):
        await AppServer(_app, wrong).start()
    (tmp_path / "file.sock").write_text("not a socket")
    with pytest.raises(InvalidCallError, match="Nothing can listen"):
        await AppServer(_app, Place(socket=tmp_path / "file.sock")).start()
    assert "not a socket" == (tmp_path / "file.sock").read_text()


def test_a_missing_package_is_told_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    known = appserver.find_spec
    monkeypatch.setattr(
        appserver, "find_spec", lambda name: None if name == "jinja2" else known(name)
    )
    with pytest.raises(InvalidCallError, match=r"need jinja2.*pip install 'wopr\[web\]'"):
        AppServer(_app, place_at("8800"))
