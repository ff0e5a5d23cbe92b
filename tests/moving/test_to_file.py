"""A queue moves from a server to a file."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from support.moving import until_count
from support.queues import PATIENCE
from wopr import QueueMovedError, Settings, TaskQueue
from wopr.domain.address import PostgresAddress
from wopr.moving.move import move


async def test_hosts_follow_to_a_file(tmp_path: Path, address: str) -> None:
    database = tmp_path / "tasks.duckdb"
    worker, client = (TaskQueue(enabled=True, database=address) for _ in range(2))
    ran: Counter[int] = Counter()

    @worker.task(name="count", max_retries=0)
    async def count(number: int) -> int:
        ran[number] += 1
        return number

    client.task(name="count")(count)
    stop = asyncio.Event()

    async def enqueue() -> list[str]:
        ids: list[str] = []
        while not stop.is_set():
            ids.append((await client.enqueue("count", (len(ids),))).id)
        return ids

    async with worker, client:
        await worker.start_workers("default", 2)
        enqueueing = asyncio.create_task(enqueue())
        await until_count(ran, 20)
        moved = await move(PostgresAddress(address), database, Settings(), grace=5)
        await until_count(ran, len(ran) + 20)
        stop.set()
        ids = await enqueueing
        for one in ids:
            await client.wait(one, timeout=PATIENCE)
        assert dict.fromkeys(range(len(ids)), 1) == ran
        assert str(database) == moved.target
        await worker.shutdown(timeout=0)
    with pytest.raises(QueueMovedError, match="WOPR_TASKS_DATABASE="):
        await move(PostgresAddress(address), tmp_path / "other.duckdb", Settings())
