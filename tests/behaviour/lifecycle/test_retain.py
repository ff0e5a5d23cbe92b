"""``retain``: how long a task is kept after its end, said with the task or the call."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.queues import DuckDBHome, SteppableClock, ended, running, until
from wopr import InvalidCallError, Signature, TaskQueue
from wopr.engine.engine import Engine
from wopr.engine.retaining import Retaining
from wopr.handlers import TaskHandler, task
from wopr.queue.queue import inside

HOUR = 3_600


def engine_of(queue: TaskQueue) -> Engine:
    engine = inside(queue).access._engine
    assert engine is not None
    return engine


class Home:
    """One file, and queues on it whose clock stands still."""

    def __init__(self, path: Path) -> None:
        self.home = DuckDBHome(path)
        self.clock = SteppableClock()

    def queue(self) -> tuple[TaskQueue, Any]:
        queue = self.home.queue(clock=self.clock)

        @queue.task(name="brief", retain=timedelta(hours=1))
        async def brief(number: int) -> int:
            return number

        @queue.task(name="usual")
        async def usual() -> None: ...

        return queue, brief

    async def left(self, queue: TaskQueue) -> list[str]:
        return sorted(f"{info.name}{info.args}" for info in await queue.get_tasks())

    async def wait(self, queue: TaskQueue, seconds: float, left: list[str]) -> None:
        """Let time pass, and look until so many are left."""
        self.clock.advance(seconds, queue)

        async def look() -> list[str]:
            engine_of(queue).retaining.look()
            return await self.left(queue)

        await until(look, lambda found: found == left)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return a place where rows outlive their process."""
    return Home(tmp_path / "tasks.duckdb")


async def test_a_task_goes_when_its_time_is_over_and_others_stay(home: Home) -> None:
    queue, brief = home.queue()
    async with running(queue, default=2):
        short, usual = await brief.enqueue(1), await queue.enqueue("usual")
        longer = await brief.options(retain=3 * HOUR).enqueue(2)
        await ended(queue, short.id, usual.id, longer.id)
        engine_of(queue).retaining.look()
        await home.wait(queue, HOUR - 5, ["brief(1,)", "brief(2,)", "usual()"])
        await home.wait(queue, 61, ["brief(2,)", "usual()"])
        history = await queue.sql("select count(*) from transitions where task_id = ?", short.id)
        assert history.scalar() == 0
        await home.wait(queue, 2 * HOUR, ["usual()"])


async def test_what_ended_before_a_restart_goes_after_it(home: Home) -> None:
    queue, brief = home.queue()
    async with running(queue, default=2):
        await ended(queue, (await brief.enqueue(1)).id, (await queue.enqueue("usual")).id)
    again, _ = home.queue()
    home.clock.advance(2 * HOUR)
    async with running(again, default=1):
        await home.wait(again, 61, ["usual()"])
        await until_nothing_is_looked_for(again)


async def until_nothing_is_looked_for(queue: TaskQueue) -> None:
    retaining = engine_of(queue).retaining

    async def next_at() -> Any:
        return retaining._forgetting or retaining.next_at

    await until(next_at, lambda one: one is None)


async def test_a_live_task_keeps_what_it_depends_on(home: Home) -> None:
    queue, brief = home.queue()
    async with running(queue, default=1):
        parent = await brief.enqueue(1)
        await ended(queue, parent.id)
        await queue.pause(task="usual")
        child = await queue.enqueue("usual", depends_on=[parent])
        home.clock.advance(2 * HOUR, queue)
        count, later = await engine_of(queue).shared.storage.forget(
            home.clock.now().replace(tzinfo=None)
        )
        assert (count, later is not None) == (0, True)
        await queue.resume(task="usual")
        await ended(queue, child.id)
        await home.wait(queue, 61, ["usual()"])


async def test_cleanup_leaves_what_says_itself_how_long_it_is_kept(home: Home) -> None:
    queue, brief = home.queue()
    async with running(queue, default=1):
        await ended(queue, (await brief.enqueue(1)).id, (await queue.enqueue("usual")).id)
        assert await queue.cleanup_old_tasks(days=0) == 1
        assert await home.left(queue) == ["brief(1,)"]
        home.clock.advance(2 * HOUR)
        assert await queue.cleanup_old_tasks(days=0) == 1


async def test_tasks_of_handlers_and_schedules_are_kept_as_declared(home: Home) -> None:
    queue, brief = home.queue()

    @TaskHandler()
    class Reports:
        @task(name="report", retain=5)
        async def report(self) -> None: ...

    handler = queue.register_handler(Reports)
    await queue.schedules.add("often", brief, every=60, args=(3,))
    async with running(queue, default=1):
        planned = await queue.schedules.run_now("often")
        by_hand = await handler.task("report").enqueue()
        infos = await ended(queue, planned.id, by_hand.id)
    assert [info.options.get("retain") for info in infos] == [HOUR, 5]


async def test_steps_of_flows_and_repeated_calls_say_it_too(home: Home) -> None:
    queue, _ = home.queue()
    async with running(queue, default=1):
        flow = await queue.enqueue_flow(Signature("brief", (4,)))
        [info] = await ended(queue, *flow.task_ids)
        assert info.options == {"retain": HOUR}
        await queue.tasks.where(ids=[info.id]).run_again()
        again, _ = await queue.get_tasks(name="brief")
    assert again.options["retain"] == HOUR


async def test_without_any_such_task_nothing_is_looked_for(home: Home) -> None:
    queue, _ = home.queue()
    async with running(queue, default=1):
        await ended(queue, (await queue.enqueue("usual")).id)
        home.clock.advance(61)
        engine_of(queue).retaining.look()
        await until_nothing_is_looked_for(queue)


async def test_while_the_tables_are_far_behind_it_waits_ten_minutes_at_most(home: Home) -> None:
    queue, _ = home.queue()

    class Behind:
        rows = 1_000_000

    class Busy:
        journal = Behind()
        asked: list[Any] = []  # noqa: RUF012 - one test's own

        async def forget(self, now: Any) -> tuple[int, None]:
            self.asked.append(now)
            return 0, None

    async with queue:
        await queue.get_task_stats()
        shared, storage = engine_of(queue).shared, Busy()
        real, shared.storage = shared.storage, storage  # type: ignore[assignment]
        try:
            retaining = Retaining(shared, asyncio.Lock())
            home.clock.advance(120)
            retaining.look()
            assert retaining._forgetting is None
            home.clock.advance(600)
            retaining.look()
            assert retaining._forgetting is not None
            await retaining._forgetting
        finally:
            shared.storage = real
    assert len(storage.asked) == 1


@pytest.mark.parametrize("wrong", [-1, "1h", float("nan")])
async def test_a_time_that_is_none_is_refused(home: Home, wrong: Any) -> None:
    queue, brief = home.queue()
    async with queue:
        with pytest.raises(InvalidCallError, match="retain must be a number of seconds"):
            await brief.options(retain=wrong).enqueue(1)
        with pytest.raises(InvalidCallError, match="retain must be a number of seconds"):
            queue.task(name="other", retain=wrong)(lambda: None)
        assert await queue.get_tasks() == []
