"""Schedules: declared in code, added at run time, and depending on each other."""

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

from wopr import Overlap, TaskQueue

queue = TaskQueue(enabled=True, database=Path(tempfile.mkdtemp()) / "schedules.duckdb")
done = asyncio.Event()


@queue.schedule(interval=timedelta(milliseconds=100), name="measure", overlap=Overlap.SKIP)
@queue.task
async def measure() -> float:
    return 21.5


@queue.schedule(interval=timedelta(milliseconds=150), depends_on=["measure"])
async def warn(dep_measure: float, limit: float = 20.0) -> str:
    done.set()
    return "too warm" if dep_measure > limit else "fine"


@queue.task
async def report(title: str) -> str:
    return f"report: {title}"


async def main() -> None:
    async with queue:
        await queue.start_workers("default", 2)  # the scheduler starts with them
        await queue.schedules.add("daily", report, args=("sales",), at="06:30", tz="Asia/Tokyo")
        for moment in await queue.schedules.preview("daily", 3):
            print("daily is planned for", moment)

        await done.wait()
        await queue.schedules.pause("measure", "the sensor is being cleaned")
        for info in await queue.schedules.list():
            print(f"{info.name:8} {info.reason:8} {info.text}")

        handle = await queue.schedules.run_now("daily")
        print(await handle.result(timeout=10))
        runs = "select schedule, count(*) as runs from schedule_runs group by all order by all"
        for row in await queue.sql(runs):
            print(row)


asyncio.run(main())
