"""What a process that was forked from one with an open queue may do, and what it holds."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from support.forks import in_child
from support.queues import PATIENCE, DuckDBHome, Home
from wopr import OwnerGoneError, TaskQueue, TaskStatus
from wopr.queue.queue import inside
from wopr.remote.client import RemoteBackend

LIST = """
import os
for name in os.listdir("/dev/fd"):
    if os.path.exists(f"/proc/self/fd/{name}"):
        print(os.readlink(f"/proc/self/fd/{name}"))
"""
"""Prints what a program has open."""
REFUSED = "StorageForkedError: This process (pid "

Use = Callable[[TaskQueue], object]


def with_bridge(queue: TaskQueue) -> object:
    with queue.sync() as sync:
        return sync(queue.get_task_stats)


def asked(call: Callable[[TaskQueue], Awaitable[object]]) -> Use:
    async def ask(queue: TaskQueue) -> object:
        return await call(queue)

    return lambda queue: asyncio.run(ask(queue))


USES = {
    "sync": with_bridge,
    "stats": asked(lambda queue: queue.get_task_stats()),
    "enqueue": asked(lambda queue: queue.add_task("echo")),
    "result": asked(lambda queue: queue.handle("0" * 32).result(timeout=PATIENCE)),
    "sql": asked(lambda queue: queue.sql("select 1")),
    "workers": asked(lambda queue: queue.start_workers("c")),
    "scheduler": asked(lambda queue: queue.start_scheduler()),
    "enter": asked(lambda queue: queue.__aenter__()),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_a_child_is_refused_at_once_while_the_queue_is_open_here(
    home: Home, use: Use
) -> None:
    queue = home.queue()
    queue.register_task("echo", "c")(lambda: None)
    async with queue:
        said = await asyncio.to_thread(in_child, lambda: use(queue))
        assert said.startswith(REFUSED)
        assert f"forked from process {os.getpid()}" in said
        assert await queue.add_task("echo")  # nothing happened here


async def test_a_child_that_goes_on_in_a_coroutine_is_refused_too(home: Home) -> None:
    queue = home.queue()
    queue.register_task("echo", "c")(lambda: None)
    async with queue:
        assert in_child(lambda: queue.add_task("echo").send(None)).startswith(REFUSED)
        assert in_child(lambda: queue.get_task_stats().send(None)).startswith(REFUSED)


async def test_a_child_is_refused_while_a_thread_here_holds_the_bridge(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()
    async with queue:
        with inside(queue).access.bridging:
            said = await asyncio.to_thread(in_child, lambda: with_bridge(queue))
    assert said.startswith(REFUSED)


async def test_a_shutdown_in_a_child_leaves_the_queue_to_its_parent(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()
    queue.register_task("echo", "c")(lambda: None)
    async with queue:
        await queue.start_workers("c")
        assert "None" == await asyncio.to_thread(in_child, lambda: asyncio.run(queue.shutdown()))
        task_id = await queue.add_task("echo")
        assert (await queue.wait(task_id, timeout=PATIENCE)).status is TaskStatus.SUCCESS


async def test_a_child_may_use_a_queue_that_was_closed_before(durable_home: DuckDBHome) -> None:
    queue = durable_home.queue()
    queue.register_task("echo", "c")(lambda: None)
    async with queue:
        await queue.add_task("echo")
    said = await asyncio.to_thread(in_child, lambda: with_bridge(queue))
    assert "'total': 1" in said


def held(path: Path) -> list[str]:
    """Return what this process has open of a database: files, and sockets by their names."""
    found = []
    for name in os.listdir("/dev/fd"):
        try:
            link = os.readlink(f"/proc/self/fd/{name}")
            if stat.S_ISSOCK(os.stat(f"/proc/self/fd/{name}").st_mode):
                link = _names(int(name))
        except OSError:
            continue
        if str(path) in link:
            found.append(link)
    return found


def _names(number: int) -> str:
    found = socket.socket(fileno=number)
    try:
        return f"{found.getsockname()} {found.getpeername()}"
    except OSError:
        return str(found.getsockname())
    finally:
        found.detach()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_a_child_keeps_no_descriptor_of_ours(durable_home: DuckDBHome) -> None:
    queue = durable_home.queue()
    path = Path(os.path.realpath(queue.database))
    async with queue:
        await queue.get_task_stats()
        client = RemoteBackend(path)
        assert await client.connect(os.getpid())
        assert len(held(path)) >= 6  # lock, database, log, journal, listener, two ends
        assert "[]" == await asyncio.to_thread(in_child, lambda: held(path))
        program = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", LIST], capture_output=True, close_fds=False
        )
        assert program.stdout
        assert str(path).encode() not in program.stdout
        await client.stats()  # all of them are as they were
        await client.close()
    assert [] == held(path)


async def test_a_client_sees_the_end_of_an_owner_whose_child_lives(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()
    here, there = socket.socketpair()

    def live() -> bytes:
        there.send(b"living")
        return there.recv(1)

    async with queue:
        client = RemoteBackend(queue.database)
        assert await client.connect(os.getpid())
        child = asyncio.create_task(asyncio.to_thread(in_child, live))
        assert b"living" == await asyncio.to_thread(here.recv, 6)
        await queue.shutdown()
        with pytest.raises(OwnerGoneError):
            await asyncio.wait_for(client.stats(), PATIENCE)
        await client.close()
    here.send(b"x")
    assert "b'x'" == await child
    here.close()
    there.close()
