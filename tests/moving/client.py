"""A program that enqueues until its input ends, and prints how many tasks that were."""

from __future__ import annotations

import asyncio
import sys

from wopr import TaskQueue


async def main() -> None:
    """Enqueue."""
    queue = TaskQueue(enabled=True, database=sys.argv[1])

    @queue.task(name="count", max_retries=0)
    async def count(number: int) -> None:
        raise AssertionError("it runs elsewhere")

    number = 0
    async with queue:
        ended = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
        while not ended.done():
            await count.enqueue(number)
            number += 1
            await asyncio.sleep(0.005)
    print(number)


if __name__ == "__main__":
    asyncio.run(main())
