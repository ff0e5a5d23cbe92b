"""A process that owns a queue's file and works, until its standard input ends."""

from __future__ import annotations

import asyncio
import sys

from wopr import TaskQueue, current_task

queue = TaskQueue(enabled=True, database=sys.argv[1])
release = asyncio.Event()


@queue.task
async def double(number: int) -> int:
    return number * 2


@queue.task
async def hold(number: int) -> int:
    current_task().progress(50, "half")
    await release.wait()
    return number


@queue.task
async def fail(text: str) -> None:
    raise ValueError(text)


async def main() -> None:
    async with queue:
        await queue.start_workers("default", 4)
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        release.set()


asyncio.run(main())
