"""All that shows a queue shows one on PostgreSQL: dashboard, terminal, assistants, its past."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from support.pages import pages_of
from support.queues import PostgresHome, ended, until_status
from wopr import QueryError, TaskNotFoundError, TaskQueue, TaskStatus, group
from wopr.assistants.server import server_of
from wopr.core.status import status_of
from wopr.core.task import Task
from wopr.domain.clock import SystemClock
from wopr.domain.why import MANY_FAILURES
from wopr.queue.queue import inside
from wopr.tui.reading import Reader
from wopr.web.guard.roles import Role

PAGES = (
    *("/", "/?span=24h", "/?category=mail", "/acts", "/alerts", "/categories", "/failures"),
    *("/flows", "/schedules", "/tasks", "/workers", "/sql"),
)


@dataclass
class Shop:
    """A queue in which a task has failed, one has succeeded and two wait."""

    queue: TaskQueue
    before: datetime
    """When two waited and nothing had ended."""
    sent: str
    failed: str
    waiting: list[str]
    send: Task[[int], int]


@pytest.fixture
async def shop(shared: PostgresHome) -> AsyncIterator[Shop]:
    queue = shared.queue()

    @queue.task(name="import", category="imports", max_retries=0)
    async def import_(text: str) -> None:
        raise ValueError(text)

    @queue.task(name="send", category="mail")
    async def send(number: int) -> int:
        return number

    async with queue:
        sent = await send.options(tags=["now"]).enqueue(1)
        failed = await import_.enqueue("no such file")
        before = (await queue.sql("select clock_timestamp()")).scalar()
        await queue.start_workers("imports", 1)
        await queue.start_workers("mail", 1)
        await until_status(queue, failed.id, TaskStatus.FAILED)
        await until_status(queue, sent.id, TaskStatus.SUCCESS)
        await queue.pause("mail", reason="moving house")
        waiting = [(await send.options(delay=3600).enqueue(number)).id for number in range(2)]
        yield Shop(queue, before, sent.id, failed.id, waiting, send)


async def test_the_past_is_told_of_all_of_it(shop: Shop) -> None:
    queue, then = shop.queue, shop.queue.as_of(shop.before)
    stats = await then.get_task_stats()
    assert (2, 2, {"pending": 2}) == (stats["total"], stats["queued"], stats["by_status"])
    assert [shop.failed, shop.sent] == [one.id for one in await then.get_tasks()]
    assert [shop.sent] == [one.id for one in await then.get_tasks(tag="now")]
    assert [shop.sent] == [one.id for one in await then.get_tasks(condition="name like 'se%'")]
    assert [shop.failed] == [one.id for one in await then.get_tasks(limit=1)]
    with pytest.raises(QueryError, match="set_config"):
        await then.get_tasks(condition="set_config('role', 'x', true) is null")
    for beyond in ("true) or (true", "true /*", "name = $1"):
        with pytest.raises(QueryError, match="is no condition in SQL"):
            await then.get_tasks(condition=beyond, name="send")
    assert "pending" == (await then.require_task_info(shop.failed)).status.value
    assert ["add"] == [one.reason for one in await then.get_history(shop.failed)]
    assert (2, 0, ()) == ((status := await then.status()).waiting, status.workers, status.pauses)
    now = queue.as_of(0)
    assert await queue.get_task_stats() == await now.get_task_stats()
    [failed] = await now.get_tasks(error="ValueError: no such file")
    assert shop.failed == failed.id
    assert ["imports", "mail"] == [one.category for one in await now.worker_info()]
    assert ["category mail"] == [one.name for one in (await now.status()).pauses]


async def test_spans_ends_and_what_would_have_been_are_told(shop: Shop) -> None:
    queue = shop.queue
    found = await queue.series(by="minute", split="category", compare=True)
    assert {"mail", "imports"} == {one.part for one in found.series}
    points = [point for one in found.series for point in one.points]
    assert (4, 1, 1) == tuple(
        sum(getattr(point, what) for point in points)
        for what in ("arrivals", "succeeded", "failed")
    )
    eta = await queue.eta(category="mail")
    assert 2 == eta.left
    would = await queue.whatif(workers={"mail": 2}, since=600)
    assert {"mail": 1, "imports": 1} == {one.category: one.tasks for one in would.categories}


async def test_what_holds_groups_back_is_explained(shop: Shop) -> None:
    queue = shop.queue
    mail = await queue.explain(category="mail")
    assert ("paused", 2, 0) == (mail.reason, mail.waiting, mail.running)
    assert "Category 'mail': 1 worker" in mail.text
    assert "paused" == (await queue.explain(name="send")).reason
    flow = await queue.enqueue_flow(group(shop.send.s(7), shop.send.s(8)))
    found = await queue.explain(flow=flow.id)
    assert ("paused", 2) == (found.reason, found.waiting)
    await queue.schedules.add("nightly", "send", every=3600, args=[3])
    planned = await queue.explain(schedule="nightly")
    assert "nightly" in planned.text
    with pytest.raises(TaskNotFoundError, match="no flow"):
        await queue.explain(flow="01a22ceb-b399-7000-974a-59bc457b9324")


async def test_the_status_compares_with_the_past(shop: Shop) -> None:
    ids = await shop.queue.enqueue_ids("import", [("no such file",)] * MANY_FAILURES, {})
    await ended(shop.queue, *ids)
    status = await shop.queue.status()
    assert {"paused", "failing"} <= {one.kind for one in status.reasons}
    assert "unanswered" not in {one.kind for one in status.reasons}
    brief = await status_of(inside(shop.queue), brief=True)
    assert "failing" not in {one.kind for one in brief.reasons}


async def test_each_page_of_the_dashboard_is_there(shop: Shop) -> None:
    moment = shop.before.isoformat().replace("+", "%2B")
    pages = (*PAGES, f"/tasks/{shop.failed}", f"/tasks/{shop.sent}", f"/?at={moment}")
    async with pages_of(shop.queue, Role.ADMIN) as client:
        for page in pages:
            answer = await client.get(page)
            assert 200 == answer.status_code, (page, answer.text[:2000])
        overview = (await client.get("/")).text
    assert "is paused" in overview
    assert "ValueError: no such file" in overview


async def test_the_terminal_shows_hosts(shop: Shop) -> None:
    reader = Reader(shop.queue, SystemClock())
    quick, slow = await reader.quick(""), await reader.slow()
    assert {"mail", "imports"} == {one.name for one in quick.categories}
    assert 2 == len(quick.workers)
    assert all(one.name.startswith(socket.gethostname()) for one in quick.workers)
    assert [True] == ["no such file" in one.error for one in slow.failures]


async def test_assistants_are_answered(shop: Shop) -> None:
    from mcp import Client

    async with Client(server_of(shop.queue)) as client:
        for tool, arguments in (
            ("status", {}),
            ("stats", {}),
            ("list_tasks", {}),
            ("explain", {"task_id": shop.waiting[0]}),
            ("show_task", {"task_id": shop.failed}),
            ("failures", {}),
            ("workers", {}),
            ("schedules", {}),
            ("acts", {}),
            ("over_time", {}),
            ("when_done", {}),
            ("status_then", {"at": shop.before.isoformat()}),
        ):
            answer: Any = await client.call_tool(tool, arguments)
            assert not answer.is_error, (tool, answer)
