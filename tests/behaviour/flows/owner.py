"""A process that owns a queue's file and works on flows, until its standard input ends."""

from __future__ import annotations

import asyncio
import sys

from wopr import TaskQueue

queue = TaskQueue(enabled=True, database=sys.argv[1])


@queue.task
async def add(number: int, more: int = 0) -> int:
    return number + more


@queue.task
async def total(numbers: list[int]) -> int:
    return sum(numbers)


@queue.task
async def fail(number: int) -> int:
    raise ValueError(f"no {number} here")


@queue.task
async def hold(number: int) -> int:
    await asyncio.Event().wait()
    return number


async def main() -> None:
    async with queue:
        await queue.start_workers("default", 4)
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await queue.shutdown(timeout=0)


if __name__ == "__main__":
    asyncio.run(main())
