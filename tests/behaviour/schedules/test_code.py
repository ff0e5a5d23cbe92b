"""Schedules that decorators declare, and the rows that follow the code."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from support.queues import DuckDBHome, Home, SteppableClock, until
from wopr import (
    Crontab,
    DuplicateScheduleError,
    InvalidCallError,
    InvalidScheduleSpecificationError,
    Settings,
    Task,
    TaskQueue,
    Weekday,
)

HAND = Settings(scheduler=False)


def declared(home: Home, clock: SteppableClock, **schedules: Any) -> TaskQueue:
    """Return a queue whose code declares these schedules of one task."""
    queue = home.queue(clock=clock, settings=HAND)

    @queue.task
    async def beat(number: int = 0) -> int:
        return number

    for name, options in schedules.items():
        assert queue.schedule(name=name, **options)(beat) is beat
    return queue


async def names(queue: TaskQueue) -> dict[str, Any]:
    """Return which schedule is paused for what."""
    return {info.name: info.paused_reason for info in await queue.schedules.list()}


async def test_above_a_task_it_declares_and_leaves_the_task_as_it_is(
    home: Home, clock: SteppableClock
) -> None:
    queue = home.queue(clock=clock, settings=HAND)

    @queue.schedule(crontab=Crontab(weekday=Weekday.MONDAY, hour=9), args=(5,))
    @queue.task(name="five", category="sums")
    async def five(number: int) -> int:
        return number

    assert isinstance(five, Task)
    assert 3 == await five(3)
    async with queue:
        await queue.start_scheduler()
        info = await queue.schedules.get("five")
        assert ("five", "sums", (5,), "code") == (info.task, info.category, info.args, info.origin)
        assert info.next_fire_at is not None
        assert (0, 9) == (info.next_fire_at.weekday(), info.next_fire_at.hour)


async def test_on_a_plain_function_it_makes_the_task_too(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock, settings=HAND)

    @queue.schedule(every={"minutes": 5}, category="sums", max_retries=2)
    def five() -> int:
        return 5

    assert isinstance(five, Task)
    assert 5 == five()
    async with queue:
        await queue.start_scheduler()
        info = await queue.schedules.get("five")
        assert ("sums", 2) == (info.category, info.max_retries)
        handle = await five.enqueue()
        assert ("sums", 2) == ((await handle.info()).category, (await handle.info()).max_retries)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({}, InvalidScheduleSpecificationError, "Exactly one of"),
        ({"every": 5, "cron": "* * * * *"}, InvalidScheduleSpecificationError, "Exactly one of"),
        ({"every": {}}, InvalidScheduleSpecificationError, "empty dictionary"),
        ({"every": 5, "args": ("x", "y")}, InvalidCallError, "doesn't fit"),
        ({"every": 5, "name": ""}, InvalidCallError, "schedule's name"),
        ({"every": 5, "nonsense": 1}, InvalidCallError, "no option 'nonsense'"),
    ],
)
def test_mistakes_are_errors_at_decoration(
    home: Home, clock: SteppableClock, options: Any, error: type[Exception], says: str
) -> None:
    queue = declared(home, clock)
    with pytest.raises(error, match=says):
        queue.schedule(**options)(queue.task(name="other")(lambda number: number))


def test_two_schedules_of_one_name_are_refused(home: Home, clock: SteppableClock) -> None:
    queue = declared(home, clock, s={"every": 60})
    other = queue.task(name="x")(lambda: None)
    with pytest.raises(DuplicateScheduleError, match=r"two schedules named 's'.*another name="):
        queue.schedule(name="s", every=60)(other)
    queue.schedules.declare("s", "beat", every=60)  # said twice, as by a module that is reloaded


async def test_one_task_may_have_several_schedules(home: Home, clock: SteppableClock) -> None:
    async with declared(home, clock, early={"at": "06:00"}, late={"at": "18:00"}) as queue:
        await queue.start_scheduler()
        assert ["early", "late"] == [info.name for info in await queue.schedules.list()]


async def test_rows_follow_the_code(durable_home: DuckDBHome, clock: SteppableClock) -> None:
    async with declared(durable_home, clock, s={"every": 60}) as queue:
        await queue.start_scheduler()
        first = await queue.schedules.get("s")
    clock.advance(10)
    async with declared(durable_home, clock, s={"every": 60}) as queue:
        await queue.start_scheduler()
        assert first == await queue.schedules.get("s")
    async with declared(durable_home, clock, s={"every": 60, "args": (7,)}) as queue:
        await queue.start_scheduler()
        second = await queue.schedules.get("s")
        assert ((7,), first.next_fire_at) == (second.args, second.next_fire_at)
    async with declared(durable_home, clock, s={"every": 30, "args": (7,)}) as queue:
        await queue.start_scheduler()
        third = await queue.schedules.get("s")
        assert clock.now() + timedelta(seconds=30) == third.next_fire_at
        assert first.created_at == third.created_at


async def test_a_schedule_without_code_is_paused_and_seen_and_goes_on_when_it_is_back(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    async with declared(durable_home, clock, kept={"every": 60}, gone={"every": 60}) as queue:
        await queue.start_scheduler()
        await queue.schedules.add("by hand", "beat", every=60)
    async with declared(durable_home, clock, kept={"every": 60}) as queue:
        await queue.start_scheduler()
        assert {"kept": None, "gone": "its code is gone", "by hand": None} == await names(queue)
        info = await queue.schedules.get("gone")
        assert "wopr schedules remove gone" in info.text
        clock.advance(600)
        await queue.schedules.tick()
        assert {"kept", "by hand"} == {task.schedule for task in await queue.get_tasks()}
    async with declared(durable_home, clock, kept={"every": 60}, gone={"every": 60}) as queue:
        await queue.start_scheduler()
        info = await queue.schedules.get("gone")
        assert not info.paused
        assert info.next_fire_at is not None
        assert clock.now() < info.next_fire_at


async def test_what_was_paused_by_hand_stays_paused(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    async with declared(durable_home, clock, s={"every": 60}) as queue:
        await queue.start_scheduler()
        await queue.schedules.pause("s", "audit")
    for schedules in ({}, {"s": {"every": 60}}, {"s": {"every": 30}}):
        async with declared(durable_home, clock, **schedules) as queue:
            await queue.start_scheduler()
            assert {"s": "audit"} == await names(queue)


async def test_code_takes_a_schedule_over_that_a_call_added(
    durable_home: DuckDBHome, clock: SteppableClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with declared(durable_home, clock) as queue:
        added = await queue.schedules.add("s", "beat", every=60)
    with caplog.at_level(logging.WARNING):
        async with declared(durable_home, clock, s={"every": 60}) as queue:
            await queue.start_scheduler()
            info = await queue.schedules.get("s")
    assert ("code", added.next_fire_at) == (info.origin, info.next_fire_at)
    assert "was added by a call" in caplog.text


async def test_dependencies_may_be_declared_in_any_order(home: Home, clock: SteppableClock) -> None:
    schedules = {"child": {"every": 60, "depends_on": ["parent"]}, "parent": {"every": 60}}
    async with declared(home, clock, **schedules) as queue:
        await queue.start_scheduler()
        assert 2 == len(await queue.schedules.list())


@pytest.mark.parametrize(
    ("schedules", "says"),
    [
        ({"a": {"every": 60, "depends_on": ["nobody"]}}, "There is no schedule 'nobody'"),
        (
            {
                "a": {"every": 60, "depends_on": ["b"]},
                "b": {"every": 60, "depends_on": ["a"]},
            },
            "wait for each other for ever",
        ),
    ],
)
async def test_dependencies_that_can_not_be_are_refused_at_the_start(
    home: Home, clock: SteppableClock, schedules: Any, says: str
) -> None:
    async with declared(home, clock, **schedules) as queue:
        with pytest.raises(InvalidCallError, match=says):
            await queue.start_scheduler()
        assert [] == await queue.schedules.list()


async def test_what_is_declared_after_the_start_is_stored_too(
    home: Home, clock: SteppableClock
) -> None:
    async with declared(home, clock, early={"every": 60}) as queue:
        await queue.start_scheduler()
        queue.schedule(name="late", every=60, run_on_start=True)(queue.task(name="x")(lambda: None))
        await until(lambda: names(queue), lambda found: "late" in found)
        tasks = await until(queue.get_tasks, lambda found: len(found) > 0)
        assert ["late"] == [task.schedule for task in tasks]


async def test_run_on_start_fires_once_at_each_start_of_the_scheduler(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    for _ in range(2):
        clock.advance(1)
        async with declared(
            durable_home, clock, s={"every": 3600, "run_on_start": True, "category": "nobody"}
        ) as queue:
            for _ in range(2):
                await queue.start_scheduler()
            await queue.schedules.tick()
            await queue.schedules.tick()
            tasks = await queue.get_tasks()
            assert [clock.now()] == [task.scheduled_for for task in tasks]
            for task in tasks:
                await queue.cancel_task(task.id)
            await queue.cleanup_old_tasks(days=0)
