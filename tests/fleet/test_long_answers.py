"""A server can send 600 MB for a query of four words: they are counted as they come."""

from __future__ import annotations

import asyncio
import resource
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest

from support.queues import PATIENCE, PostgresHome
from wopr import QueryError
from wopr.domain.address import PostgresAddress
from wopr.ports.cut import Cut
from wopr.ports.storage import QueryLimits
from wopr.storage.postgres import asking
from wopr.storage.postgres.connections import Connections
from wopr.storage.postgres.meter import metered

MIB = 1024 * 1024
LIMITS = QueryLimits()
LONG = "repeat('x', 40000000)"
AT_ONCE = {
    "a value": f"select {LONG}",
    "many values": f"select {', '.join(['result'] * 40)} from (select repeat('x', {MIB})) as a "
    "(result)",
    "an error that quotes it": f"select ('y' || {LONG})::int",
    "a plan that quotes it": f"explain (verbose, format json) select {LONG}",
}


async def test_what_comes_at_once_is_never_in_memory_whole(shared: PostgresHome) -> None:
    connections = Connections(PostgresAddress(shared.address), 1, 30.0)
    limits = QueryLimits(bytes=2 * MIB)
    await asking.ask(connections, "select 1", [], limits)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for what, text in AT_ONCE.items():
        with pytest.raises(QueryError, match=r"2,097,152 bytes.*left\(result"):
            await asking.ask(connections, text, [], limits)
        assert [(1,)] == (await asking.ask(connections, "select 1", [], limits)).rows, what
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 25 * MIB


async def test_the_rows_before_one_that_is_too_long_are_the_answer(shared: PostgresHome) -> None:
    connections = Connections(PostgresAddress(shared.address), 1, 30.0)
    text = (
        "select repeat('x', case when a = 4 then 3000000 else 5 end) from generate_series(1, 9) a"
    )
    found = await asking.ask(connections, text, [], QueryLimits(bytes=1_000_000))
    assert ([("xxxxx",)] * 3, Cut.BYTES) == (found.rows, found.cut)


async def test_many_rows_together_may_have_more(shared: PostgresHome) -> None:
    connections = Connections(PostgresAddress(shared.address), 1, 30.0)
    text = "select repeat('x', 700000) from generate_series(1, 9)"
    found = await asking.ask(connections, text, [], QueryLimits(bytes=6_000_000))
    assert (8, Cut.BYTES) == (len(found.rows), found.cut)


async def test_the_server_has_nothing_left_of_it(shared: PostgresHome) -> None:
    async with shared.queue() as queue:
        with pytest.raises(QueryError, match="left"):
            await queue.sql(f"select {LONG} /* long */")
        asked = "select count(*) from pg_stat_activity where query like '%/* l' || 'ong */%'"
        async with asyncio.timeout(60):
            while (await queue.sql(asked)).scalar():
                pass


async def test_the_server_is_left_with_a_word(shared: PostgresHome) -> None:
    connections = Connections(PostgresAddress(shared.address), 1, 30.0)
    folder = PostgresAddress(shared.address).conninfo.partition("host=")[2].partition("&")[0]
    log = Path(unquote(folder), "log")
    for _ in range(3):
        [(pid,)] = (await asking.ask(connections, "select pg_backend_pid()", [], LIMITS)).rows
        async with asyncio.timeout(60):
            gone = f"select 1 from pg_stat_activity where pid = {pid}"
            while (await asking.ask(connections, gone, [], LIMITS)).rows:
                pass
        assert not [line for line in log.read_text().splitlines() if f"[{pid}]" in line]


@pytest.mark.parametrize("turn", [0, 1])
async def test_who_gives_up_while_it_begins_leaves_no_socket(
    shared: PostgresHome, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    connect, ends = asyncio.open_connection, list[socket.socket]()

    async def given_up(*, sock: socket.socket) -> Any:
        ends.append(sock)
        if len(ends) > turn:
            raise asyncio.CancelledError
        return await connect(sock=sock)

    connections = Connections(PostgresAddress(shared.address), 1, 30.0)
    monkeypatch.setattr(asyncio, "open_connection", given_up)
    with pytest.raises(asyncio.CancelledError):
        await asking.ask(connections, "select 1", [], QueryLimits())
    monkeypatch.undo()
    assert [-1] * (turn + 1) == [one.fileno() for one in ends]
    assert [(1,)] == (await asking.ask(connections, "select 1", [], QueryLimits())).rows


class Line:
    """What a connection is to the meter."""

    def __init__(self, end: socket.socket) -> None:
        self.pgconn, self.end = SimpleNamespace(socket=end.fileno()), end

    async def close(self) -> None:
        """Close the library's end."""
        self.end.close()


async def test_what_is_read_after_the_server_has_gone_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect, writers = asyncio.open_connection, list[asyncio.StreamWriter]()

    async def connected(*, sock: socket.socket) -> Any:
        found = await connect(sock=sock)
        writers.append(found[1])
        return found

    monkeypatch.setattr(asyncio, "open_connection", connected)
    loop, sent, got = asyncio.get_running_loop(), 0, 0
    server, library = socket.socketpair()
    server.setblocking(False)
    library.setblocking(False)
    async with asyncio.timeout(PATIENCE), metered(Line(library), MIB) as meter:
        going = writers[1].transport
        while not going.get_write_buffer_size():
            await loop.sock_sendall(server, bytes(8192))
            sent += 8192
            while meter._size < sent:
                await asyncio.sleep(0)
        server.close()
        while not going.is_closing():
            await asyncio.sleep(0)
        while part := await loop.sock_recv(library, MIB):
            got += len(part)
    assert sent == got > 0
