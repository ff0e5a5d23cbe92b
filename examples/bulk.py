"""Enqueue a hundred thousand tasks, then work on them for a while."""

from __future__ import annotations

import asyncio
import time

from wopr import TaskQueue

queue = TaskQueue(enabled=True)


@queue.task(category="scan")
async def scan(path: str, size: int) -> int:
    return len(path) * size


async def main() -> None:
    async with queue:
        began = time.perf_counter()
        await scan.enqueue_many((f"/srv/{n}", n) for n in range(100_000))
        print(f"100,000 enqueued in {time.perf_counter() - began:.1f} s, all on disk")

        last = await scan.enqueue("/srv/last", 0)
        print(await queue.explain(last.id))

        await queue.start_workers("scan", 50)
        done = 0
        while done < 10_000:
            await asyncio.sleep(0.1)
            done = (await queue.get_task_stats())["by_status"].get("success", 0)
        print(f"{done:,} done; the rest is there at the next start")


asyncio.run(main())
