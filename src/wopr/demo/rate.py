"""What the queue does by itself: the rate of tasks that do nothing, on the demo's own disk."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from wopr.domain.clock import SystemClock
from wopr.domain.events import TaskEvent
from wopr.queue.queue import TaskQueue

TASKS = 5_000
WORKERS = 50
LONGEST_SECONDS = 60.0


def rate_of_nothing(beside: Path) -> float:
    """Return how many tasks a second are enqueued, run and settled, with a new file there.

    Raises:
        TimeoutError: they were not done in a minute.
    """
    with tempfile.TemporaryDirectory(prefix="wopr-demo-", dir=beside) as folder:
        return asyncio.run(_measure(Path(folder) / "rate.duckdb"))


async def _measure(database: Path) -> float:
    queue = TaskQueue(enabled=True, database=database)
    ended = 0
    all_ended = asyncio.Event()

    @queue.task(name="nothing")
    async def nothing(number: int) -> int:
        return number

    @queue.on("task.succeeded")
    def count(event: TaskEvent) -> None:
        nonlocal ended
        ended += 1
        if ended == TASKS:
            all_ended.set()

    clock = SystemClock()
    async with queue:
        await queue.start_workers("default", WORKERS)
        began = clock.monotonic()
        await nothing.enqueue_many([(number,) for number in range(TASKS)])
        await asyncio.wait_for(all_ended.wait(), LONGEST_SECONDS)
        return TASKS / (clock.monotonic() - began)
