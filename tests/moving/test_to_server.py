"""A queue moves from its file to a server."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from support.moving import until_count
from support.queues import PATIENCE
from wopr import Settings, TaskQueue
from wopr.domain.address import PostgresAddress
from wopr.moving.move import move


async def test_it_is_used_all_the_while_and_followed(tmp_path: Path, address: str) -> None:
    database = tmp_path / "tasks.duckdb"
    worker = TaskQueue(enabled=True, database=database)
    client = TaskQueue(enabled=True, database=database)
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
        moved = await move(database, PostgresAddress(address), Settings(), grace=5)
        there = len(ran)
        await until_count(ran, there + 20)
        stop.set()
        ids = await enqueueing
        for one in ids:
            await client.wait(one, timeout=PATIENCE)
        assert dict.fromkeys(range(len(ids)), 1) == ran
        assert PostgresAddress(address).named == moved.target
        await worker.shutdown(timeout=0)
