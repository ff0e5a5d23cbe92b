"""The file is given up to a process that takes it, and to nobody else."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.owners import end, start_owner
from support.queues import PATIENCE, until
from support.wire import wire
from wopr import StorageError, TaskQueue
from wopr.access import ownership
from wopr.access.local import LocalBackend
from wopr.domain.newtask import NewTask
from wopr.queue.queue import inside
from wopr.remote.protocol import socket_path

RUDE = """
import socket, sys, time
for line in sys.stdin:
    connection = socket.socket(socket.AF_UNIX)
    while connection.connect_ex(sys.argv[1]):
        time.sleep(0.01)
    connection.sendall(b'{"id": 1, "verb": "hand_over", "params": []}\\n')
    print(connection.makefile().readline(), end="", flush=True)
    if line == "go\\n":
        connection.close()
    else:
        keep = connection
"""
"""Asks for the file for each line that it is given, and lets it lie."""


@pytest_asyncio.fixture
async def owner(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    queue = TaskQueue(enabled=True, database=tmp_path / "queue.duckdb")

    @queue.task
    async def double(number: int) -> int:
        return number * 2

    async with queue:
        await queue.enqueue("double", (0,))
        yield queue


@pytest.fixture
def rude(owner: TaskQueue) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", RUDE, socket_path(owner.database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


async def ask(rude: subprocess.Popen[str], how: str) -> bool:
    assert rude.stdin is not None
    assert rude.stdout is not None
    rude.stdin.write(f"{how}\n")
    rude.stdin.flush()
    answer = json.loads(await asyncio.to_thread(rude.stdout.readline))
    return bool(answer["ok"])


async def gone(owner: TaskQueue) -> None:
    """Return once the owner has closed its file."""

    async def is_there() -> bool:
        await asyncio.sleep(0.01)
        return os.path.exists(socket_path(owner.database))

    await until(is_there, lambda there: not there)


async def enqueued(owner: TaskQueue, number: int) -> str:
    """Enqueue until it is known that the task is there."""

    async def again() -> str | None:
        try:
            return (await owner.enqueue("double", (number,), unique_key=str(number))).id
        except StorageError:
            return None

    found = await until(again, lambda task_id: task_id is not None)
    assert found is not None
    return found


@pytest.mark.parametrize("how", ["go", "stay"])
async def test_a_file_that_was_let_lie_is_taken_back_and_not_given_again(
    owner: TaskQueue, rude: subprocess.Popen[str], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = PATIENCE if how == "go" else 0.2  # who goes need not be waited for
    monkeypatch.setattr(ownership, "RECEIVE_SECONDS", patience)
    assert await ask(rude, how)
    if how == "stay":
        await gone(owner)
    await enqueued(owner, 1)
    await until(lambda: ask(rude, how), lambda given: not given)
    for _ in range(3):
        assert not await ask(rude, how)
    await owner.start_workers("default", 1)
    task = await owner.enqueue("double", (21,))
    assert await task.result(timeout=PATIENCE) == 42
    assert (await owner.get_task_stats())["total"] == 3


async def test_a_call_that_finds_the_storage_closed_is_carried_out_by_the_next_owner(
    owner: TaskQueue,
) -> None:
    """Seen: one of 14,666 requests of a process that gave the file up in the middle of them."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    def late(local: LocalBackend) -> LocalBackend:
        add = local.add

        async def add_late(new: NewTask) -> str:
            begun.set()
            await go_on.wait()
            return await add(new)

        local.add = add_late  # type: ignore[method-assign, assignment]
        return local

    with inside(owner).access.through(late):
        task = asyncio.create_task(owner.enqueue("double", (4,)))
        await begun.wait()
        worker = await asyncio.to_thread(start_owner, owner.database)
        try:
            go_on.set()
            handle = await task
            assert await handle.result(timeout=PATIENCE) == 8
        finally:
            await asyncio.to_thread(end, worker)
    assert (await owner.get_task_stats())["total"] == 2


async def test_a_process_does_not_get_its_own_file(owner: TaskQueue) -> None:
    async with wire(owner.database) as client:
        assert [False] * 10 == [(await client.ask("hand_over"))["ok"] for _ in range(10)]
    assert (await owner.get_task_stats())["total"] == 1


async def test_a_queue_that_is_shut_down_lets_go_of_who_did_not_take_the_file(
    owner: TaskQueue, rude: subprocess.Popen[str]
) -> None:
    assert await ask(rude, "stay")
    await gone(owner)
    await owner.shutdown()
    second = TaskQueue(enabled=True, database=owner.database)
    async with second:
        assert (await second.get_task_stats())["total"] == 1
