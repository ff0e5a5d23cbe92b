"""A task that fails twice, one that fails for good, and one that must not be repeated."""

from __future__ import annotations

import asyncio

from tenacity import stop_after_attempt, wait_exponential

from wopr import RetryPolicy, TaskFailedError, TaskQueue, current_task

queue = TaskQueue(enabled=True)

QUICK = wait_exponential(multiplier=0.01, max=0.05)  # seconds; yours will be longer


@queue.task(max_retries=5, retry=QUICK)
async def flaky() -> str:
    if current_task().attempt < 3:
        raise ConnectionError("the server is busy")
    return "got it"


@queue.task(retry=[QUICK, stop_after_attempt(2)])
async def hopeless() -> None:
    raise ConnectionError("the server is gone")


@queue.task(max_retries=5, retry=RetryPolicy(wait=QUICK, dont_retry=(ValueError,), jitter=0.01))
async def picky(age: int) -> None:
    if age < 0:
        raise ValueError(f"age {age} is negative")


async def main() -> None:
    async with queue:
        await queue.start_workers()
        print(await (await flaky.enqueue()).result(timeout=10))

        for handle in (await hopeless.enqueue(), await picky.enqueue(-1)):
            try:
                await handle.result(timeout=10)
            except TaskFailedError as error:
                print(error)
            for entry in await queue.get_history(handle.id):
                print("   ", entry.attempt, entry.to_status, entry.error or "")


asyncio.run(main())
