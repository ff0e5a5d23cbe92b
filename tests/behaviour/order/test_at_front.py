"""``at_front``: a task that starts before all others of its category and priority."""

from __future__ import annotations

from typing import Any

import pytest

from support.queues import DuckDBHome, Home, SteppableClock, ended, running
from wopr import InvalidCallError, Settings, TaskPriority, TaskQueue
from wopr.queue.queue import inside


class Line:
    """A queue of one worker, and in what order it did its work."""

    def __init__(self, home: Home, **options: Any) -> None:
        self.queue: TaskQueue = home.queue(**options)
        self.done: list[int] = []

        @self.queue.task(name="step")
        async def step(number: int, tenant: str = "") -> None:
            self.done.append(number)

        self.step = step
        self.first = step.options(at_front=True)

    async def work(self, *, workers: int = 1) -> list[int]:
        """Do all that waits; return in what order."""
        async with running(self.queue, default=workers):
            await ended(self.queue, *(info.id for info in await self.queue.get_tasks(limit=5_000)))
        return self.done


async def test_it_starts_before_all_that_wait_and_the_newest_of_them_first(home: Home) -> None:
    line = Line(home)
    async with line.queue:
        await line.queue.pause("default")
        await line.step.enqueue_many([(1,), (2,)])
        await line.first.enqueue(3)
        await line.first.enqueue_many([(4,), (5,)])
        await line.step.enqueue(6)
        await line.queue.resume("default")
        assert await line.work() == [5, 4, 3, 1, 2, 6]


async def test_a_higher_priority_goes_before_it(home: Home) -> None:
    line = Line(home)
    async with line.queue:
        await line.first.enqueue(1)
        await line.step.options(priority=TaskPriority.HIGH).enqueue(2)
        await line.step.options(priority=TaskPriority.HIGH, at_front=True).enqueue(3)
        assert await line.work() == [3, 2, 1]


async def test_it_keeps_its_place_after_a_restart_and_among_more_than_memory_holds(
    durable_home: DuckDBHome,
) -> None:
    settings = Settings(window=10, enabled=True)
    line = Line(durable_home, settings=settings)
    async with line.queue:
        await line.step.enqueue_many([(number,) for number in range(60)])
        for number in range(100, 150):
            await line.first.enqueue(number)
        await line.step.enqueue_many([(number,) for number in range(60, 80)])
    again = Line(durable_home, settings=settings)
    async with again.queue:
        await again.first.enqueue(200)
        assert await again.work() == [200, *range(149, 99, -1), *range(80)]


async def test_many_at_the_front_are_held_in_bounded_memory(durable_home: DuckDBHome) -> None:
    line = Line(durable_home, settings=Settings(window=10, enabled=True))
    async with line.queue:
        await line.queue.start_workers("default", 1)
        await line.queue.pause("default")
        for number in range(80):
            await line.first.enqueue(number)
        assert inside(line.queue).access.pools["default"].lanes.qsize() <= 31
        await line.queue.resume("default")
        assert await line.work() == list(range(79, -1, -1))


async def test_one_that_is_delayed_goes_to_the_front_once_it_is_due(
    home: Home, clock: SteppableClock
) -> None:
    line = Line(home, clock=clock)
    async with line.queue:
        await line.step.options(delay=5).enqueue(1)
        await line.step.options(delay=5, at_front=True).enqueue(2)
        await line.step.enqueue(3)
        clock.advance(6, line.queue)
        assert await line.work() == [2, 1, 3]


async def test_limits_and_aging_leave_it_at_the_front(home: Home) -> None:
    line = Line(home)
    async with line.queue:
        await line.queue.set_limit("default", key="tenant", concurrency=1)
        await line.queue.set_limit("default", aging=60)
        await line.step.enqueue_many([(number, "a") for number in range(3)])
        await line.first.enqueue(7, "b")
        await line.first.enqueue(8, "a")
        assert await line.work() == [8, 7, 0, 1, 2]


async def test_explain_counts_who_is_before_it(home: Home) -> None:
    line = Line(home)
    async with line.queue:
        last = [await line.step.enqueue(number) for number in (1, 2)][-1]
        front = await line.first.enqueue(3)
        ahead = [(await line.queue.explain(one.id)).ahead for one in (front, last)]
    assert ahead == [0, 2]


async def test_anything_but_yes_or_no_is_refused(home: Home) -> None:
    line = Line(home)
    wrong: Any = "yes"
    async with line.queue:
        with pytest.raises(InvalidCallError, match="at_front must be True or False"):
            await line.step.options(at_front=wrong).enqueue(1)
        assert await line.queue.get_tasks() == []
