"""The clock of the machine is set while a queue is open, or between two openings."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tenacity import stop_after_delay, wait_fixed

from support.queues import PATIENCE, DuckDBHome, Gate, SteppableClock, running, until, until_status
from wopr import Overlap, RetryPolicy, Settings, TaskQueue, TaskStatus
from wopr.domain.due import DELAY
from wopr.queue.queue import inside

HOUR = timedelta(hours=1)
EVENLY = RetryPolicy(wait=wait_fixed(60), jitter=0)
STOPS = RetryPolicy(wait=wait_fixed(60), stop=stop_after_delay(100), jitter=0)
HAND = Settings(scheduler=False)
SUCCESS, PENDING, RETRY = TaskStatus.SUCCESS, TaskStatus.PENDING, TaskStatus.RETRY


class Machine(SteppableClock):
    """A clock whose wall part can be set, without any time passing."""

    def set(self, by: timedelta, *queues: TaskQueue) -> None:
        """Set the wall clock, and let queues notice it as they do within a second."""
        self.time += by
        for queue in queues:
            engine = inside(queue).access.engine
            assert engine is not None
            engine.look_at_clock()


@pytest.fixture
def machine() -> Machine:
    return Machine()


def _echo(queue: TaskQueue) -> Any:
    @queue.task(name="echo", category="c", retry=EVENLY, max_retries=3)
    async def echo(n: int) -> int:
        if n < 0:
            raise OSError("no")
        return n

    return echo


# -- rates -----------------------------------------------------------------------------


async def test_a_rate_goes_on_at_its_pace_after_the_clock_was_set_back(
    durable_home: DuckDBHome, machine: Machine
) -> None:
    queue = durable_home.queue(clock=machine)
    echo = _echo(queue)
    async with running(queue, c=4):
        await queue.set_limit("c", rate="2/minute")
        handles = await echo.enqueue_many([(n,) for n in range(6)])
        await handles[1].result(timeout=PATIENCE)
        machine.set(-HOUR, queue)
        told = await queue.explain(handles[2].id)
        assert "limited" == told.reason
        assert "in 1 min" in told.text
        assert "set back by 1 h" in told.text
        machine.advance(61, queue)
        await handles[3].result(timeout=PATIENCE)
        assert PENDING is await handles[4].status()
        machine.set(HOUR, queue)  # which makes no room
        assert "in 1 min" in (await queue.explain(handles[4].id)).text
        machine.advance(61, queue)
        await handles[5].result(timeout=PATIENCE)


@pytest.mark.parametrize("by", [-HOUR, HOUR])
async def test_a_limit_that_is_set_after_a_step_counts_what_started_before_it(
    durable_home: DuckDBHome, machine: Machine, by: timedelta
) -> None:
    queue = durable_home.queue(clock=machine)
    echo = _echo(queue)
    async with running(queue, c=4):
        for handle in await echo.enqueue_many([(n,) for n in range(2)]):
            await handle.result(timeout=PATIENCE)
        machine.advance(30)
        machine.set(by, queue)
        await queue.set_limit("c", rate="2/minute")
        third = await echo.enqueue(2)
        told = await until(lambda: queue.explain(third.id), lambda one: one.reason == "limited")
        assert "in 30 s" in told.text
        machine.advance(31, queue)
        assert 2 == await third.result(timeout=PATIENCE)


async def test_a_rate_waits_for_one_period_at_most_when_its_starts_are_of_the_future(
    durable_home: DuckDBHome, machine: Machine
) -> None:
    queue = durable_home.queue(clock=machine)
    echo = _echo(queue)
    async with running(queue, c=4):
        await queue.set_limit("c", rate="2/minute")
        for handle in await echo.enqueue_many([(n,) for n in range(2)]):
            await handle.result(timeout=PATIENCE)
    machine.set(-HOUR)
    again = durable_home.queue(clock=machine)
    echo = _echo(again)
    async with running(again, c=4):
        third = await echo.enqueue(2)
        assert "in 1 min" in (await again.explain(third.id)).text
        machine.advance(61, again)
        assert 2 == await third.result(timeout=PATIENCE)


# -- delays and retries -------------------------------------------------------------------


async def test_delays_and_retries_wait_as_long_as_they_would_have(
    durable_home: DuckDBHome, machine: Machine
) -> None:
    queue = durable_home.queue(clock=machine)
    echo = _echo(queue)
    async with running(queue, c=2):
        failed = await echo.enqueue(-1)
        await until_status(queue, failed.id, RETRY)
        delayed = await echo.options(delay=60).enqueue(1)
        fixed = await echo.options(run_at=machine.now() + timedelta(seconds=60)).enqueue(2)
        machine.advance(20)
        machine.set(-HOUR, queue)
        for handle in (failed, delayed):
            told = await queue.explain(handle.id)
            assert "in 40 s" in told.text
            assert "set back by 1 h" in told.text
        assert "in 1 h" in (await queue.explain(fixed.id)).text
        machine.set(HOUR, queue)  # it is right again
        machine.set(-HOUR, queue)
        machine.advance(41, queue)
        assert 1 == await delayed.result(timeout=PATIENCE)
        await until_status(queue, failed.id, RETRY)
        while (await failed.info()).attempt < 2:
            await asyncio.sleep(0)
        assert PENDING is await fixed.status()
        machine.set(HOUR, queue)
        machine.advance(0, queue)
        assert 2 == await fixed.result(timeout=PATIENCE)


async def test_a_task_of_before_the_step_is_retried_after_its_delay(
    durable_home: DuckDBHome, machine: Machine
) -> None:
    """Its attempt can't have started before it was enqueued, so its times are of the future."""
    queue = durable_home.queue(clock=machine)
    echo = _echo(queue)
    async with running(queue, other=1):
        failed = await echo.enqueue(-1)
        machine.set(-HOUR, queue)
        await queue.start_workers("c")
        await until_status(queue, failed.id, RETRY)
        assert "in 1 min" in (await queue.explain(failed.id)).text
        machine.advance(61, queue)
        while (await failed.info()).attempt < 2:
            await asyncio.sleep(0)


async def test_a_delay_that_began_in_the_future_begins_anew_at_the_next_opening(
    durable_home: DuckDBHome, machine: Machine
) -> None:
    queue = durable_home.queue(clock=machine)
    async with queue:
        delayed = await _echo(queue).options(delay=60).enqueue(1)
        fixed = await queue.enqueue("echo", (2,), run_at=machine.now() + timedelta(seconds=60))
    machine.set(-HOUR)
    again = durable_home.queue(clock=machine)
    _echo(again)
    async with running(again, c=1):
        while again.queues["c"].empty():  # they are not read yet
            await asyncio.sleep(0)
        machine.advance(61, again)
        assert 1 == await again.handle(delayed.id).result(timeout=PATIENCE)
        assert PENDING is await again.handle(fixed.id).status()


async def test_a_policy_that_stops_by_time_measures_real_time(
    durable_home: DuckDBHome, machine: Machine
) -> None:
    queue, attempts = durable_home.queue(clock=machine), []

    @queue.task(name="fail", category="c", retry=STOPS)
    async def fail() -> None:
        attempts.append(machine.seconds)
        raise OSError("no")

    async with running(queue, c=1):
        handle = await fail.enqueue()
        await until_status(queue, handle.id, RETRY)
        machine.set(-HOUR, queue)
        machine.advance(61, queue)
        while len(attempts) < 2:
            await asyncio.sleep(0)
        await until_status(queue, handle.id, RETRY)
        machine.advance(61, queue)
        await until_status(queue, handle.id, TaskStatus.FAILED)
    assert 3 == len(attempts)


# -- schedules -----------------------------------------------------------------------------


async def _fired(queue: TaskQueue) -> int:
    return len(await queue.schedules.tick())


async def test_an_interval_goes_on_after_the_clock_was_set_back_and_right_again(
    durable_home: DuckDBHome, machine: Machine
) -> None:
    queue = durable_home.queue(clock=machine, settings=HAND)
    queue.register_task("beat")(lambda: None)
    async with queue:
        await queue.schedules.add("s", "beat", every=600, overlap=Overlap.ALLOW)
        await queue.schedules.add("c", "beat", cron="0 * * * *", overlap=Overlap.ALLOW)
        machine.advance(300)
        machine.set(-HOUR)
        assert 0 == await _fired(queue)
        assert "set back by 1 h" in (await queue.schedules.get("s")).text
        machine.advance(299)
        assert 0 == await _fired(queue)
        machine.advance(1)
        assert 1 == await _fired(queue)
        machine.advance(100)
        machine.set(HOUR)
        assert 0 == await _fired(queue)
        machine.advance(500)
        assert 1 == await _fired(queue)
        found = (await queue.schedules.get("s")).next_fire_at
        assert found == machine.now() + timedelta(seconds=600)


async def test_an_interval_fires_after_one_at_most_when_its_times_are_of_the_future(
    durable_home: DuckDBHome, machine: Machine
) -> None:
    queue = durable_home.queue(clock=machine, settings=HAND)
    queue.register_task("beat")(lambda: None)
    async with queue:
        await queue.schedules.add("fired", "beat", every=600, overlap=Overlap.ALLOW)
        machine.advance(600)
        assert 1 == await _fired(queue)
        await queue.schedules.add("new", "beat", every=600, overlap=Overlap.ALLOW)
    machine.set(-HOUR)
    for _ in range(3):  # each opening finds the times of its tasks in the future
        again = durable_home.queue(clock=machine, settings=HAND)
        again.register_task("beat")(lambda: None)
        async with again:
            assert 0 == await _fired(again)
            machine.advance(600)
            assert 2 == await _fired(again)


async def test_the_scheduler_notices_by_itself(durable_home: DuckDBHome, machine: Machine) -> None:
    queue, gate = durable_home.queue(clock=machine), Gate()
    gate.open()
    queue.schedule(every=2.0, overlap=Overlap.ALLOW)(queue.task(name="beat")(gate.wait))
    async with running(queue, default=1):
        await queue.start_scheduler(interval=0.05)
        machine.set(-HOUR)
        machine.advance(2)
        await gate.arrivals()


# -- what is stored ------------------------------------------------------------------------


async def test_a_delay_is_stored_as_one(durable_home: DuckDBHome, machine: Machine) -> None:
    queue = durable_home.queue(clock=machine)
    echo = _echo(queue)
    async with queue:
        given = [{"delay": 1.5}, {"delay": timedelta(minutes=1)}, {"run_at": machine.now() + HOUR}]
        for options in given:
            await echo.options(**options).enqueue(1)
        stored = await queue.sql(f"select options ->> '{DELAY}' from tasks order by seq")
    assert [("1.5",), ("60.0",), (None,)] == list(stored.rows)
