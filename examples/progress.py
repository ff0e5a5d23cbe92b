"""A function in a thread reports how far it is; somebody else looks."""

from __future__ import annotations

import asyncio
import time

from wopr import TaskQueue, current_task

queue = TaskQueue(enabled=True)


@queue.task(category="import")
def load(rows: int) -> int:
    task = current_task()
    for row in range(1, rows + 1):
        time.sleep(0.005)
        task.progress(100 * row / rows, f"row {row} of {rows}")
    return rows


async def main() -> None:
    async with queue:
        await queue.start_workers("import", 1)
        handle = await load.enqueue(100)
        while not (info := await handle.info()).is_completed:
            print(f"{info.status:8} {info.progress:5.1f} % {info.progress_message}")
            await asyncio.sleep(0.1)
        print(f"{info.status}: {info.result} rows in {info.elapsed_seconds:.2f} s")


asyncio.run(main())
