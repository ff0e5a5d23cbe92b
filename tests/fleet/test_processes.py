"""Hosts that are processes: killed, and stopped for longer than their lease."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.queues import PATIENCE, PostgresHome
from wopr import TaskQueue

HOST = Path(__file__).with_name("host.py")


@contextlib.asynccontextmanager
async def host(home: PostgresHome) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a host of its own that has a worker by now."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HOST),
        home.address,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert "ready" == await said(process)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def said(process: asyncio.subprocess.Process) -> str:
    """Return the next line that a host says."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        return (await process.stdout.readline()).decode().strip()


def answering(queue: TaskQueue) -> None:
    """Give the queue of this process a function for the host's tasks."""

    @queue.task(name="hold")
    async def hold() -> str:
        return "here"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_what_a_lost_host_ran_is_back_when_its_lease_ends(
    shared: PostgresHome, how: signal.Signals
) -> None:
    queue = shared.queue()
    answering(queue)
    async with queue, host(shared) as lost:
        handle = await queue.enqueue("hold")
        assert "began" == await said(lost)
        os.kill(lost.pid, how)
        await queue.start_workers("default", 1)
        assert "here" == await handle.result(timeout=PATIENCE)
        if how is signal.SIGSTOP:  # it wakes up, and ends what is not its own any more
            os.kill(lost.pid, signal.SIGCONT)
            assert lost.stdin is not None
            lost.stdin.write(b"there\n")
            await lost.stdin.drain()
            assert "ignored" == await said(lost)
        info = await handle.info()
        history = [one.reason for one in await queue.get_history(handle.id)]
    assert ("here", 2, 1) == (info.result, info.attempt, info.crashes)
    assert ["add", "claim", "worker lost", "claim", "succeed"] == history
