"""What tasks log on one host is shown on each."""

from __future__ import annotations

import logging
from datetime import datetime

import pytest

from support.pages import pages_of
from support.queues import PostgresHome, ended
from wopr import TaskQueue
from wopr.domain.errors import StorageError
from wopr.domain.logline import LogLine
from wopr.fleet import lines
from wopr.fleet.fleet import Fleet
from wopr.queue.queue import inside
from wopr.service.capture import keep_logs
from wopr.web.guard.roles import Role

NOON = datetime(2030, 5, 17, 12)
logger = logging.getLogger("shop.orders")


def fleet_of(queue: TaskQueue) -> Fleet:
    found = inside(queue).access.works
    assert isinstance(found, Fleet)
    return found


async def test_what_a_task_logs_is_shown_on_another_host(
    shared: PostgresHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.manager._clear_cache()  # type: ignore[attr-defined]  # of what a level lets through
    here, there = shared.queue(), shared.queue()

    @here.task
    async def pay() -> None:
        logger.info("paying %d\0", 7)
        logger.warning("password=hunter2")

    async with here, there:
        stop = keep_logs(here)
        try:
            await here.start_workers("default", 1)
            handle = await pay.enqueue()
            await ended(here, handle.id)
            assert 2 == len(await here.get_logs(handle.id))
        finally:
            stop()
        first, second = await there.get_logs(handle.id)
        assert (1, "INFO", "shop.orders") == (first.attempt, first.level, first.logger)
        assert first.message.startswith("paying 7")
        assert "hunter2" not in second.message
        async with pages_of(there, Role.READ) as client:
            assert "paying 7" in (await client.get(f"/tasks/{handle.id}")).text
        assert 1 == await here.cleanup_old_tasks(days=0)
        assert 0 == (await there.sql("select count(*) from task_logs")).scalar()


async def test_lines_wait_for_a_server_and_are_bounded(
    shared: PostgresHome, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lines, "MOST_LINES", 2)
    monkeypatch.setattr(lines, "AGAIN_SECONDS", 0.01)
    queue = shared.queue()

    @queue.task
    async def quiet() -> None: ...

    async with queue:
        handle = await quiet.enqueue()
        fleet = fleet_of(queue)
        store, calls = fleet.parts.store, 0
        really = store.save_logs

        async def fails_once(batch: list[LogLine]) -> None:
            nonlocal calls
            calls += 1
            await really(batch)
            if calls == 1:
                raise StorageError("it broke after the commit")

        monkeypatch.setattr(store, "save_logs", fails_once)
        fleet.save_logs(
            [LogLine(handle.id, 1, n, NOON, "INFO", "shop", f"line {n}") for n in range(1, 4)]
        )
        found = await queue.get_logs(handle.id)
    assert ["line 1", "line 2"] == [one.message for one in found]
    assert 2 == calls
    assert "WOPR_TASKS_LOG_LINES" in caplog.text
