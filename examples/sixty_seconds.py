"""The whole idea in one file: declare, enqueue, work, ask."""

from __future__ import annotations

import asyncio

from wopr import TaskQueue

queue = TaskQueue(enabled=True, database="wopr_tasks.duckdb")


@queue.task(category="math", max_retries=3)
async def double(n: int) -> int:
    return n * 2


async def main() -> None:
    async with queue:
        await queue.start_workers("math", 4)

        handle = await double.enqueue(21)  # on disk from here on
        print(await handle.result(timeout=10))

        handles = await double.enqueue_many([(n,) for n in range(1_000)])
        print(sum([await handle.result(timeout=10) for handle in handles]))

        for row in await queue.sql("select status, count(*) as tasks from tasks group by status"):
            print(row)


asyncio.run(main())
