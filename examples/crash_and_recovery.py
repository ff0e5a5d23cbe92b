"""Kill the process in the middle of its work, start again, and see that nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

from wopr import TaskQueue

TASKS = 200
queue = TaskQueue(enabled=True, database="wopr_tasks.duckdb")


@queue.task(name="step", category="work")
async def step(n: int) -> int:
    await asyncio.sleep(0.002)
    return n


async def enqueue_and_die() -> None:
    """Accept all tasks, do some of them, and be killed: no cleanup, no goodbye."""
    async with queue:
        handles = await step.enqueue_many([(n,) for n in range(TASKS)])
        await queue.start_workers("work", 4)
        await handles[TASKS // 2].result()
        os.kill(os.getpid(), signal.SIGKILL)


async def finish() -> None:
    async with queue:  # opening recovers what was running
        await queue.start_workers("work", 4)
        tasks = await queue.get_tasks(category="work", limit=TASKS)
        results = sorted([(await queue.wait(info.id, timeout=10)).result for info in tasks])
        assert results == list(range(TASKS))
        (row,) = await queue.sql(
            "select count(*) as tasks, sum(crashes) as interrupted_by_the_crash from tasks"
        )
        print(row)
        for entry in await queue.sql(
            "select attempt, from_status, to_status, reason from history where task_id = "
            "(select id from tasks order by crashes desc limit 1) order by seq"
        ):
            print("   ", entry)


if sys.argv[1:] == ["die"]:
    asyncio.run(enqueue_and_die())
else:
    died = subprocess.run([sys.executable, __file__, "die"], check=False)
    print(f"the first process ended with {signal.Signals(-died.returncode).name}")
    asyncio.run(finish())
