"""``stop_after_delay`` counts from the first start, wherever the task waited before."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from tenacity import stop_after_delay, wait_none

from support.queues import PATIENCE
from wopr import RetryPolicy, TaskQueue, TaskStatus
from wopr.domain.clock import SystemClock


class Skewed(SystemClock):
    """The system's time plus what a test adds."""

    ahead = timedelta(0)

    def now(self):  # type: ignore[no-untyped-def]
        return super().now() + self.ahead


def build(path: Path, clock: Skewed, seen: list[int], again: asyncio.Event) -> TaskQueue:
    queue = TaskQueue(enabled=True, database=path, clock=clock)

    @queue.task(name="fail", retry=RetryPolicy(wait=wait_none(), stop=stop_after_delay(100)))
    async def fail() -> None:
        seen.append(len(seen))
        if len(seen) == 3:
            clock.ahead += timedelta(seconds=200)
        if len(seen) == 6:
            again.set()
        raise ValueError("no")

    return queue


async def test_waiting_in_the_backlog_does_not_use_up_the_time(tmp_path: Path) -> None:
    seen: list[int] = []
    clock = Skewed()
    again = asyncio.Event()
    async with build(tmp_path / "q.duckdb", clock, seen, again) as queue:
        task_id = await queue.add_task("fail")
        clock.ahead = timedelta(seconds=500)
        await queue.start_workers()
        info = await asyncio.wait_for(queue.wait(task_id), PATIENCE)

        assert (TaskStatus.FAILED, 3) == (info.status, len(seen))
        assert await queue.retry_task(task_id)
        await asyncio.wait_for(again.wait(), PATIENCE)  # a retry by hand has the whole time again
        assert await queue.cancel_task(task_id)
