"""What holds when the server goes away: nothing acknowledged is lost, nothing runs twice."""

from __future__ import annotations

import asyncio
from collections import Counter

from support.postgres import restart
from support.queues import PATIENCE, PostgresHome
from wopr import StorageError
from wopr.core.handle import TaskHandle

TASKS = 150


async def test_work_goes_on_after_the_server_was_killed_and_restarted(
    shared: PostgresHome,
) -> None:
    ran: Counter[int] = Counter()
    queue = shared.queue()

    @queue.task(name="count")
    async def count(number: int) -> int:
        ran[number] += 1
        return number

    async with queue:
        await queue.start_workers("default", 4)
        acknowledged: dict[int, TaskHandle[int]] = {}

        async def enqueue(number: int) -> None:
            try:
                acknowledged[number] = await count.enqueue(number)
            except StorageError:
                """It is not known whether it is there, and nobody was told that it is."""

        first = [asyncio.create_task(enqueue(number)) for number in range(TASKS)]
        killing = asyncio.create_task(asyncio.to_thread(restart))
        second = [asyncio.create_task(enqueue(number)) for number in range(TASKS, 2 * TASKS)]
        await killing
        await asyncio.gather(*first, *second)
        for number, handle in acknowledged.items():
            assert number == await handle.result(timeout=PATIENCE)
        stats = await queue.get_task_stats()
    assert acknowledged.keys() <= ran.keys()
    assert {1} == set(ran.values())
    assert stats["by_status"] == {"success": len(ran)}
