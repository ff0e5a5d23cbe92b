"""The scheduler: when it starts, how it sleeps, when it stops."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
from datetime import timedelta
from typing import Any

import pytest

from support.queues import PATIENCE, Gate, Home, SteppableClock, running, until
from wopr import QueueClosedError, Settings, StorageError, TaskQueue
from wopr.domain.clock import SystemClock
from wopr.domain.misfire import Overlap
from wopr.queue.queue import inside

HAND = Settings(scheduler=False)


def ticking(home: Home, **options: Any) -> tuple[TaskQueue, Gate]:
    """Return a queue whose schedule of every 20 ms arrives at a gate that is open."""
    queue = home.queue(**options)
    gate = Gate()
    gate.open()
    queue.register_task("beat")(gate.wait)
    queue.schedule(name="s", every={"milliseconds": 20}, overlap=Overlap.ALLOW)(
        queue.task(name="beat")(gate.wait)
    )
    return queue, gate


async def test_the_first_workers_start_it(home: Home) -> None:
    queue, gate = ticking(home)
    async with running(queue, default=1):
        await gate.arrivals(3)
        assert (await queue.schedules.get("s")).reason in {"planned", "due"}


async def test_the_setting_switches_that_off(home: Home) -> None:
    queue, gate = ticking(home, settings=HAND)
    async with running(queue, default=1):
        assert [] == await queue.schedules.list()
        await queue.start_scheduler()
        await gate.arrivals(3)


def test_the_setting_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().scheduler
    monkeypatch.setenv("WOPR_TASKS_SCHEDULER", "0")
    assert not Settings().scheduler


async def test_occurrences_follow_the_plan(durable_home: Home) -> None:
    queue, gate = ticking(durable_home)
    async with running(queue, default=4):
        await gate.arrivals(5)
        planned = [
            task.scheduled_for
            for task in reversed(await queue.get_tasks(limit=1_000))
            if task.scheduled_for is not None
        ]
        steps = {two - one for one, two in itertools.pairwise(planned)}
        assert {timedelta(milliseconds=20)} == steps


async def test_it_sleeps_until_something_is_due_but_looks_at_the_clock_meanwhile(
    home: Home, clock: SteppableClock
) -> None:
    queue = home.queue(clock=clock)
    queue.register_task("beat")(lambda: None)
    async with running(queue, default=1):
        await queue.schedules.add("s", "beat", every=3_600)
        await queue.start_scheduler(interval=0.01)
        clock.advance(3_600)  # as an operator sets it
        await until(queue.get_tasks, lambda found: len(found) == 1)


async def test_a_queue_without_schedules_has_no_timer(home: Home) -> None:
    queue = home.queue()
    async with running(queue, default=1):
        assert inside(queue).access.clockwork._scheduler is not None
        assert inside(queue).access.clockwork._scheduler._timer is None


async def test_starting_it_again_changes_nothing_but_the_interval(home: Home) -> None:
    queue, gate = ticking(home)
    async with running(queue, default=1):
        scheduler = inside(queue).access.clockwork._scheduler
        for _ in range(3):
            await queue.start_scheduler(interval=5)
        assert scheduler is inside(queue).access.clockwork._scheduler
        await gate.arrivals(3)
        found = await queue.get_tasks(limit=1_000)
        assert len(found) == len({task.scheduled_for for task in found})


async def test_blocking_returns_at_the_shutdown(home: Home) -> None:
    queue, gate = ticking(home)
    async with queue:
        blocked = asyncio.ensure_future(queue.start_scheduler(blocking=True))
        await queue.start_workers("default", 1)
        await gate.arrivals(1)
        assert not blocked.done()
        await queue.shutdown()
        await asyncio.wait_for(blocked, PATIENCE)
    await queue.schedules.ended()  # none runs


async def test_after_the_shutdown_nothing_fires_until_it_is_started_again(home: Home) -> None:
    queue, gate = ticking(home)
    async with running(queue, default=1):
        await gate.arrivals(1)
    scheduler = inside(queue).access.clockwork._scheduler
    assert scheduler is None
    gate.arrived.clear()
    async with running(queue, default=1):
        await gate.arrivals(2)


async def test_shutdown_stops_the_scheduler_before_it_drains(home: Home) -> None:
    queue = home.queue(settings=HAND)
    gate = Gate()
    left: list[str] = []

    @queue.task
    async def hold() -> None:
        await gate.wait()
        left.extend(info.reason for info in await queue.schedules.list())

    async with queue:
        await queue.schedules.add("s", hold, every=3_600)
        await queue.start_workers("default", 1)
        await queue.start_scheduler()
        await queue.schedules.run_now("s")
        await gate.arrivals()
        stopping = asyncio.ensure_future(queue.shutdown(timeout=PATIENCE))
        await asyncio.sleep(0)
        gate.open()
        await stopping
    assert ["no scheduler"] == left


@pytest.mark.parametrize("interval", [0, -1, float("nan"), "1"])
async def test_an_interval_has_to_be_a_number_of_seconds(home: Home, interval: Any) -> None:
    with pytest.raises(ValueError, match="interval"):
        await home.queue().start_scheduler(interval=interval)


async def test_a_tick_that_fails_is_logged_and_tried_again(
    durable_home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    queue, gate = ticking(durable_home)
    monkeypatch.setattr("wopr.engine.schedules.scheduler.SHORTEST_BACK_OFF", 0.01)
    async with running(queue, default=1):
        await queue.start_scheduler(interval=0.01)
        await gate.arrivals(1)
        storage = queue.storage
        schedules = storage.schedules

        async def fail() -> Any:
            raise StorageError("gone for a moment")

        monkeypatch.setattr(storage, "schedules", fail)
        inside(queue).access._backend.schedules._sure = False  # as after a commit that failed
        with caplog.at_level(logging.ERROR):
            await until(queue.get_task_stats, lambda _: "gone for a moment" in caplog.text)
        monkeypatch.setattr(storage, "schedules", schedules)
        seen = len(gate.arrived)
        await gate.arrivals(seen + 3)
        found = await queue.get_tasks(limit=10_000)
        assert len(found) == len({task.scheduled_for for task in found})


async def test_it_is_not_started_by_a_queue_that_shuts_down(home: Home) -> None:
    gate = Gate()
    queue = home.queue()
    queue.register_task("hold")(gate.wait)
    async with queue:
        await queue.start_workers("default", 1)
        await queue.enqueue("hold")
        await gate.arrivals()
        stopping = asyncio.ensure_future(queue.shutdown(timeout=PATIENCE))
        await asyncio.sleep(0)
        with pytest.raises(QueueClosedError):
            await queue.start_workers("default", 1)
        gate.open()
        await stopping


async def test_ticks_see_no_context_variables_of_whoever_started_them(
    home: Home, clock: SteppableClock
) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    queue = home.queue(clock=clock, settings=HAND)
    seen: list[object] = []

    class Spy(SystemClock):
        def now(self) -> Any:
            seen.append(variable.get(None))
            return clock.now()

    queue.register_task("beat")(lambda: None)
    async with queue:
        await queue.schedules.add("s", "beat", every=60)
        variable.set("mine")
        clock.advance(60)
        inside(queue).access._backend.schedules._clock = Spy()
        await queue.schedules.tick()
    assert None in seen


async def test_fixed_times_that_the_clock_passes_twice_fire_once(
    home: Home, clock: SteppableClock
) -> None:
    queue = home.queue(clock=clock, settings=HAND)
    queue.register_task("beat")(lambda: None)
    async with queue:
        await queue.schedules.add("s", "beat", cron="0 * * * *", overlap=Overlap.ALLOW)
        clock.advance(-10_000)
        assert [] == await queue.schedules.tick()
        clock.advance(10_000 + 3_600)
        assert 1 == len(await queue.schedules.tick())
        clock.advance(-3_000)
        assert [] == await queue.schedules.tick()
        clock.advance(3_000)
        assert [] == await queue.schedules.tick()
