"""A rate holds over the deaths of the process: what started before counts afterwards."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from support.programs import clean_environment
from wopr import TaskQueue

RATE, PERIOD, TASKS = 15, 0.5, 90

WORKER = f"""
import asyncio
from wopr import TaskQueue

queue = TaskQueue(enabled=True, database="tasks.duckdb")

@queue.task
async def call(host: str) -> None:
    print("started", flush=True)

async def main():
    async with queue:
        await queue.set_limit("default", key="host", rate=({RATE}, {PERIOD}))
        await queue.start_workers("default", 50)
        while (await queue.get_task_stats())["queued"]:
            await asyncio.sleep(0.05)

asyncio.run(main())
"""


async def fill(path: Path) -> None:
    async with TaskQueue(enabled=True, database=path) as queue:

        @queue.task
        async def call(host: str) -> None: ...

        await call.enqueue_many([(f"host {number % 2}",) for number in range(TASKS)])


async def starts(path: Path) -> dict[str, list[datetime]]:
    """Return when tasks were started, by host."""
    query = """
        select args ->> '$[0]' as host, occurred_at
        from transitions join tasks on tasks.id = task_id
        where to_status = 'started' order by occurred_at
    """
    found: dict[str, list[datetime]] = {}
    async with TaskQueue(enabled=True, database=path) as queue:
        for row in await queue.sql(query):
            found.setdefault(row["host"], []).append(row["occurred_at"])
    return found


@pytest.mark.crash
@pytest.mark.slow
def test_a_rate_holds_over_kills(tmp_path: Path) -> None:
    path = tmp_path / "tasks.duckdb"
    asyncio.run(fill(path))
    for lines in (5, 12, 1, None):  # so many starts are seen before the kill
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            cwd=tmp_path,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        with worker:
            assert worker.stdout is not None
            for number, _ in enumerate(worker.stdout, start=1):
                if number == lines:
                    worker.kill()
                    break
    found = asyncio.run(starts(path))
    assert sum(map(len, found.values())) >= TASKS
    period = timedelta(seconds=PERIOD)
    for times in found.values():
        for first, beyond in zip(times, times[RATE:], strict=False):
            assert beyond - first >= period
