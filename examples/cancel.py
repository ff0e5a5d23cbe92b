"""Cancel a waiting task, a running coroutine and a function in a thread."""

from __future__ import annotations

import asyncio
import threading

from wopr import TaskCancelledError, TaskQueue, TaskStatus, current_task

queue = TaskQueue(enabled=True)
started = threading.Event()


@queue.task(category="slow")
async def wait_for_ever() -> None:
    started.set()
    await asyncio.Event().wait()


@queue.task(category="slow")
def crunch() -> None:
    started.set()
    while not current_task().cancelled:  # nobody can stop a thread: it has to look
        threading.Event().wait(0.01)


async def main() -> None:
    async with queue:
        waiting = await wait_for_ever.enqueue()
        print("waiting:", await waiting.cancel())

        await queue.start_workers("slow", 2)
        for task in (wait_for_ever, crunch):
            started.clear()
            handle = await task.enqueue()
            await asyncio.to_thread(started.wait)
            print("running:", await handle.cancel())
            assert await handle.status() is TaskStatus.CANCELLED
            try:
                await handle.result(timeout=10)
            except TaskCancelledError as error:
                print(error)
        print("again:", await waiting.cancel())  # it has ended: nothing to cancel


asyncio.run(main())
