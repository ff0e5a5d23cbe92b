"""A shop whose functions run on Celery workers: imported by tests and by those workers."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from contextvars import ContextVar
from datetime import date
from pathlib import Path

from tenacity import wait_none

from wopr import TaskQueue, current_task, task
from wopr.auth import current_auth_context, require_role
from wopr.handlers import TaskHandler
from wopr.handlers import task as method

tenant: ContextVar[str] = ContextVar("tenant")


class ShopError(Exception):
    """What a task raises."""


@task(category="shop")
def price(order: int, day: date) -> tuple[int, date]:
    return order * 10, day


@task(category="shop")
async def price_async(order: int) -> int:
    await asyncio.sleep(0)
    return order * 10


@task(category="shop")
def total(prices: list[int]) -> int:
    return sum(prices)


@task(category="shop")
def who() -> tuple[str, str, str, int, int, str | None]:
    me = current_task()
    return me.id, me.name, me.category, me.attempt, os.getpid(), tenant.get(None)


@task(category="shop")
def broken(number: int) -> None:
    raise ShopError(f"order {number} has no price")


@task(category="shop", max_retries=1, retry=wait_none())
def once_killed(folder: str) -> int:
    """Wait to be killed in the first attempt, and return in the second."""
    number = current_task().attempt
    if number == 1:
        path = Path(folder) / "pid"
        path.with_suffix(".new").write_text(f"{os.getpid()} {os.getppid()}")
        path.with_suffix(".new").rename(path)
        threading.Event().wait(60)
    return number


@task(category="shop")
def until_told(folder: str) -> None:
    """Say how far it is, until it is to stop."""
    me = current_task()
    me.progress(40, "half way", data={"pid": os.getpid()})
    while not me.cancelled:
        threading.Event().wait(0.02)
    (Path(folder) / "stopped").touch()


@task(category="shop")
@require_role("editor")
def refund(order: int) -> str:
    found = current_auth_context()
    return f"{order} by {'nobody' if found is None else found.subject.id}"


@TaskHandler(category="shop")
class Till:
    @method
    def receipt(self, order: int) -> str:
        return f"receipt {order}"

    @method
    async def both(self, order: int) -> str:
        return f"both: {self.receipt(order)}"

    def title(self) -> str:
        return "till"


def stocked(queue: TaskQueue) -> TaskQueue:
    """Put the shop's tasks into a queue, as its own process and the workers do."""
    queue.propagate(tenant)
    queue.include(sys.modules[__name__])
    queue.register_handler(Till)
    return queue
