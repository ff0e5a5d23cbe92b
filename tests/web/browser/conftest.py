"""A browser, and a dashboard of a queue with something of everything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from support.browsers import NONE, Served, browser, chromium
from wopr import TaskPriority, TaskQueue, chain, current_task, group
from wopr.service.capture import keep_logs

log = logging.getLogger("shop")


async def prepare(queue: TaskQueue) -> None:
    """Fill a queue: tasks in each status, a flow, a schedule, limits, a pause, acts, an alert."""

    @queue.task(name="send_mail", category="mail", priority=TaskPriority.HIGH, max_retries=1)
    async def send_mail(to: str, api_key: str = "") -> str:
        log.warning("to %s", to)
        if to == "nobody":
            raise ValueError("no route to <b>host</b> 7")
        return to

    @queue.task(name="build", category="reports", max_retries=0)
    async def build(month: int) -> dict[str, int]:
        if month > 12:
            raise KeyError("month")
        return {"month": month}

    @queue.task(name="long", category="long")
    async def long() -> None:
        task = current_task()
        task.progress(40, "header sent")
        await asyncio.Event().wait()

    @queue.schedule(name="nightly", crontab="0 3 * * *")
    @queue.task(name="nightly", category="reports")
    def nightly() -> None:
        pass

    keep_logs(queue)
    for category in ("mail", "reports", "long"):
        await queue.start_workers(category, 2)
    steps = chain(group(build.s(1), build.s(2)), send_mail.si("a@b.c"))
    await (await queue.enqueue_flow(steps)).wait(timeout=60)
    ended = [await send_mail.enqueue(f"user{n}@example.org") for n in range(20)]
    ended += [await build.enqueue(n) for n in range(8, 16)]
    for one in ended:
        await queue.wait(one.id, timeout=60)
    await queue.tasks.where(name="build", status="failed", until=0).retry(reason="try again")
    await long.enqueue()
    await send_mail.enqueue("nobody")
    await send_mail.options(delay=86_400).enqueue("later", api_key="sk-secret")
    await queue.set_limit("reports", concurrency=2)
    await queue.pause("imports", reason="provider is down")


@pytest.fixture(scope="module")  # its event loop runs as long, and tests after it have their own
def chrome() -> Iterator[Browser]:
    """Return a browser."""
    path = chromium()
    if path is None:
        pytest.skip(NONE)
    with browser(path) as found:
        yield found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, chrome: Any) -> Iterator[Served]:
    """Return the dashboard that all look at."""
    with Served(tmp_path_factory.mktemp("shop") / "shop.duckdb", prepare) as found:
        yield found


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Return the folder where pictures of all pages are kept; git ignores it."""
    folder = Path(__file__).parent / "pictures"
    folder.mkdir(exist_ok=True)
    return folder
