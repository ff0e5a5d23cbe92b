"""``queue.eta(…)``: what is left, measured against what was done in the last hour."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from support.queues import SteppableClock, until_status
from wopr import InvalidCallError, TaskPriority, TaskQueue, TaskStatus
from wopr.domain.eta import EtaReason
from wopr.testing import drain


async def test_it_tells_when_the_backlog_will_be_done_and_why_not(tmp_path: Path) -> None:
    clock = SteppableClock()
    async with TaskQueue(enabled=True, database=tmp_path / "t.duckdb", clock=clock) as queue:

        @queue.task(name="work", category="mail")
        async def work(number: int) -> int:
            clock.advance(6)  # so long it takes
            return number

        gate = asyncio.Event()

        @queue.task(name="hold", category="mail", priority=TaskPriority.CRITICAL)
        async def hold() -> None:
            await gate.wait()

        assert EtaReason.DONE is (await queue.eta()).reason
        await work.enqueue_many([(number,) for number in range(20)])
        assert EtaReason.NO_WORKERS is (await queue.eta()).reason
        await drain(queue)
        clock.advance(60)
        await work.enqueue_many([(number,) for number in range(100)])
        held = await hold.enqueue()
        await queue.start_workers("mail", 1)
        await until_status(queue, held.id, TaskStatus.STARTED)
        found = await queue.eta(category="mail", name="work")
        assert (100, EtaReason.FLOWING) == (found.left, found.reason)
        assert found.at is not None
        assert timedelta(minutes=9) < found.at - clock.now() < timedelta(minutes=40)
        assert found.earliest is not None
        assert timedelta(minutes=9) < found.earliest - clock.now() < timedelta(minutes=12)
        part = await queue.eta(condition="seq % 2 = 0", name="work")
        assert 50 == part.left
        assert part.at is not None
        assert part.at - clock.now() > timedelta(minutes=9)  # the others start between
        assert 101 == (await queue.eta()).left
        assert 1 == (await queue.eta(ids=held.id)).left
        await queue.pause(task="work", reason="moving house")
        paused = await queue.eta(name="work")
        assert (EtaReason.PAUSED, None) == (paused.reason, paused.at)
        assert "moving house" in str(paused)
        assert EtaReason.DONE is (await queue.eta("other")).reason
        with pytest.raises(InvalidCallError, match="no whole id"):
            await queue.eta(ids="0190")
        gate.set()


async def test_limits_are_looked_at(tmp_path: Path) -> None:
    clock = SteppableClock()
    async with TaskQueue(enabled=True, database=tmp_path / "t.duckdb", clock=clock) as queue:

        @queue.task(name="work", category="mail")
        async def work() -> None:
            clock.advance(1)

        await work.enqueue_many([()] * 10)
        await drain(queue)
        await work.enqueue_many([()] * 60)
        await queue.set_limit("mail", rate="1/m")
        await queue.pause("mail")
        await queue.start_workers("mail", 1)
        await queue.tasks.where(name="work").delay(3600)
        await queue.resume("mail")
        found = await queue.eta()
        assert found.earliest is not None
        assert timedelta(minutes=59) < found.earliest - clock.now() < timedelta(minutes=62)
