"""Due tasks start by priority, then in the order they were enqueued."""

from __future__ import annotations

import asyncio

from wopr import TaskPriority, TaskQueue

queue = TaskQueue(enabled=True)
order: list[str] = []


@queue.task(category="mail")
async def send(subject: str) -> None:
    order.append(subject)


async def main() -> None:
    async with queue:
        low = await send.options(priority=TaskPriority.LOW).enqueue("newsletter")
        await send.enqueue("receipt 1")
        await send.enqueue("receipt 2")
        await send.options(priority=TaskPriority.CRITICAL).enqueue("password reset")
        await send.options(delay=3600, priority=TaskPriority.CRITICAL).enqueue("not due yet")

        await queue.start_workers("mail", 1)
        await low.result(timeout=10)
        print(order)
        assert order == ["password reset", "receipt 1", "receipt 2", "newsletter"]


asyncio.run(main())
