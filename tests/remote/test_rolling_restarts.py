"""Workers are ended and killed while others enqueue, as scripts/handover does at length."""

from __future__ import annotations

import asyncio
import random
import subprocess
from pathlib import Path

import pytest

from support.owners import client, end, start_owner
from support.queues import PATIENCE
from wopr import TaskQueue

CLIENTS, CALLERS = 3, 4
"""Processes of a web server would be more of the same; so many of its requests come at once."""


async def enqueue(queue: TaskQueue, numbers: list[int], stop: asyncio.Event) -> list[str]:
    """Enqueue one task after the other; nothing may go wrong."""
    ids = []
    while not stop.is_set():
        numbers[0] += 1
        ids.append((await queue.enqueue("double", (numbers[0],))).id)
        await asyncio.sleep(0.01)
    return ids


async def change(database: Path, owner: subprocess.Popen[str], how: str) -> subprocess.Popen[str]:
    """Let one worker go, and have the next one work."""
    if how == "killed":
        owner.kill()
        await asyncio.to_thread(owner.communicate)
    else:
        await asyncio.to_thread(end, owner)
    return await asyncio.to_thread(start_owner, database)


@pytest.mark.parametrize("seed", [1])
async def test_no_call_fails_and_no_task_is_lost_or_there_twice_while_workers_come_and_go(
    tmp_path: Path, seed: int
) -> None:
    """Seen: a graceful restart cost web requests errors, and whoever asked was told "unknown"."""
    rng = random.Random(seed)
    database, numbers, stop = tmp_path / "queue.duckdb", [0], asyncio.Event()
    owner = await asyncio.to_thread(start_owner, database)
    queues = [client(database) for _ in range(CLIENTS)]
    callers = [
        asyncio.create_task(enqueue(queue, numbers, stop))
        for queue in queues
        for _ in range(CALLERS)
    ]
    for how in rng.sample(["killed", "ended", "ended"], 3):
        owner = await change(database, owner, how)
        await asyncio.sleep(rng.uniform(0.0, 0.1))
    stop.set()
    ids = [task_id for caller in callers for task_id in await caller]
    for task_id in ids[-CALLERS:]:
        await queues[0].wait(task_id, timeout=PATIENCE)
    [(count, calls)] = (
        await queues[0].sql("select count(*), count(distinct args) from tasks")
    ).rows
    assert len(ids) == len(set(ids)) == count == calls == numbers[0]
    await asyncio.gather(*(queue.shutdown() for queue in queues))
    await asyncio.to_thread(end, owner)
