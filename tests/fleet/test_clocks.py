"""A host whose clock is wrong: what it does is by the clock of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from tenacity import stop_after_delay, wait_none

from support.queues import PostgresHome, ended
from wopr import RetryPolicy, TaskQueue
from wopr.domain.clock import SystemClock
from wopr.notifications import NotificationService
from wopr.queue.face import inside

TEN_MINUTES = timedelta(minutes=10)
MINUTE = timedelta(minutes=1)
BOTH_WAYS = pytest.mark.parametrize("off", [TEN_MINUTES, -TEN_MINUTES], ids=["ahead", "behind"])


class Wrong(SystemClock):
    """A host's clock that is wrong, until somebody sets it."""

    def __init__(self, off: timedelta) -> None:
        """Be off by so much."""
        self.off = off

    def now(self) -> datetime:
        """Return what it shows."""
        return super().now() + self.off


def is_now(moment: datetime | None) -> bool:
    """Whether it is about now: the server, and the tests, are on this machine."""
    return moment is not None and abs(moment - datetime.now(UTC)) < MINUTE


@pytest.fixture
async def make(shared: PostgresHome) -> AsyncIterator[Callable[[timedelta], TaskQueue]]:
    """Return what makes the queue of a host whose clock is wrong."""
    async with AsyncExitStack() as stack:

        def made(off: timedelta) -> TaskQueue:
            queue = shared.queue(clock=Wrong(off))
            queue.task(name="noop")(lambda *_: None)
            stack.push_async_callback(queue.shutdown)
            return queue

        yield made


Make = Callable[[timedelta], TaskQueue]


@BOTH_WAYS
async def test_all_tasks_of_a_call_are_due_by_the_servers_clock(make: Make, off: timedelta) -> None:
    queue = make(off)
    ids = await queue.enqueue_ids("noop", [(1,), (2,), (3,)], {"delay": 3_600})
    found = [await queue.require_task_info(one) for one in ids]
    hour = timedelta(hours=1)
    assert [True] * 3 == [one.run_at is not None and is_now(one.run_at - hour) for one in found]


@BOTH_WAYS
async def test_what_was_and_what_will_be_is_asked_by_the_servers_clock(
    make: Make, off: timedelta
) -> None:
    await make(timedelta(0)).enqueue("noop")
    assert 1 == (await make(off).as_of(0).get_task_stats())["total"]
    assert 0 == (await make(off).as_of(300).get_task_stats())["total"]
    series = await make(off).series("minute", since=timedelta(minutes=5))
    points = [point for one in series.series for point in one.points]
    assert 1 == sum(one.arrivals for one in points)
    assert 1 == (await make(off).eta(since=300)).left


@BOTH_WAYS
async def test_schedules_are_planned_by_the_servers_clock(make: Make, off: timedelta) -> None:
    queue = make(off)
    info = await queue.schedules.add("often", "noop", every=60)
    assert is_now(info.next_fire_at)
    [first] = await queue.schedules.preview("often", 1)
    assert first == info.next_fire_at
    queue.schedules.declare("at once", "noop", at_once=True, every=3_600)
    await queue.schedules.sync()
    assert is_now((await queue.schedules.get("at once")).next_fire_at)
    assert 1 == len(await queue.schedules.tick())
    await queue.pause("default")
    [pause] = await queue.pauses()
    assert is_now(pause.since)


async def test_hosts_that_differ_a_little_plan_nothing_anew(make: Make) -> None:
    fast, slow = make(timedelta(seconds=0.45)), make(timedelta(0))
    await slow.schedules.list()
    added = await fast.schedules.add("often", "noop", every=60)
    [found] = await slow.schedules.list()
    assert added.next_fire_at == found.next_fire_at


@BOTH_WAYS
async def test_a_clock_that_is_set_while_it_works_plans_nothing_anew(
    make: Make, off: timedelta
) -> None:
    queue = make(timedelta(0))
    added = await queue.schedules.add("often", "noop", every=60)
    clock = inside(queue).clock
    assert isinstance(clock, Wrong)
    clock.off = off
    [found] = await queue.schedules.list()
    assert added.next_fire_at == found.next_fire_at
    assert [] == await queue.schedules.tick()


@BOTH_WAYS
async def test_retries_go_on_for_as_long_as_they_are_to(make: Make, off: timedelta) -> None:
    queue, tries = make(off), []

    @queue.task(name="flaky", retry=RetryPolicy(wait=wait_none(), stop=stop_after_delay(300)))
    async def flaky() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("not yet")

    await queue.start_workers("default", 1)
    [found] = await ended(queue, (await queue.enqueue("flaky")).id)
    assert ("success", 3) == (found.status.value, len(tries))


@BOTH_WAYS
async def test_alerts_are_of_moments_of_the_server(make: Make, off: timedelta) -> None:
    queue = make(off)
    service = NotificationService(queue)
    await queue.get_tasks()
    event = await service.emit("ops", "info", "Something happened")
    assert is_now(event.created_at)
