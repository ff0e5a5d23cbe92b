"""Functions that never wait share a task of the loop; whatever waits has one for itself."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from support.queues import PATIENCE, DuckDBHome
from wopr import TaskQueue
from wopr.domain.status import TaskStatus
from wopr.running import starts
from wopr.running.attempt import Attempt

MANY = 60
SAID: contextvars.ContextVar[int] = contextvars.ContextVar("said", default=0)


@pytest.fixture(autouse=True)
def always_brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first run be enough to be known, however busy the machine is."""
    monkeypatch.setattr(starts, "BRIEF_RUNS", 1)
    monkeypatch.setattr(starts, "BRIEF_SECONDS", PATIENCE)


class Stage:
    """A queue with one task, whose function a test gives."""

    def __init__(self, path: Path, function: Callable[[int], Awaitable[Any]], **options: Any):
        self.queue: TaskQueue = DuckDBHome(path / "tasks.duckdb").queue()
        self.tasks: dict[int, asyncio.Task[Any]] = {}

        async def act(n: int) -> Any:
            task = asyncio.current_task()
            assert task is not None
            self.tasks[n] = task
            return await function(n)

        self.act = self.queue.task(name="act", **options)(act)

    async def known(self) -> None:
        """Let the function be known as a brief one."""
        await self.queue.start_workers("default", MANY)
        await (await self.act.enqueue(-1)).result(PATIENCE)

    async def all(self, count: int = MANY) -> list[TaskStatus]:
        """Run it so many times, all claimed together; return how they ended."""
        handles = await self.act.enqueue_many([(number,) for number in range(count)])
        ends = [self.queue.wait(handle.id, PATIENCE) for handle in handles]
        return [info.status for info in await asyncio.gather(*ends)]

    @property
    def count(self) -> int:
        """How many different tasks of the loop ran them."""
        return len(set(map(id, self.tasks.values())))


async def test_functions_that_never_wait_share_a_task(tmp_path: Path) -> None:
    async def quick(n: int) -> int:
        return n

    stage = Stage(tmp_path, quick)
    async with stage.queue:
        await stage.known()
        assert {TaskStatus.SUCCESS} == {*await stage.all()}
        assert stage.count < MANY / 2


async def test_whatever_waits_holds_up_nobody_and_has_its_task_for_itself(tmp_path: Path) -> None:
    everybody = asyncio.Event()
    here = 0

    async def meet(n: int) -> None:
        nonlocal here
        if n >= 0:
            here += 1
            if here == MANY:
                everybody.set()
            await everybody.wait()

    stage = Stage(tmp_path, meet)
    async with stage.queue:
        await stage.known()
        assert {TaskStatus.SUCCESS} == {*await stage.all()}
        assert MANY + 1 == stage.count


async def test_what_a_function_leaves_in_its_context_the_next_one_does_not_find(
    tmp_path: Path,
) -> None:
    found: list[int] = []

    async def say(n: int) -> None:
        found.append(SAID.get())
        SAID.set(n + 100)

    stage = Stage(tmp_path, say)
    async with stage.queue:
        await stage.known()
        await stage.all()
    assert {0} == {*found}


async def test_a_function_that_cancels_its_own_task_takes_nobody_along(tmp_path: Path) -> None:
    async def cancel(n: int) -> None:
        if n == 3:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        elif n > 3:
            await asyncio.sleep(0)

    stage = Stage(tmp_path, cancel)
    async with stage.queue:
        await stage.known()
        assert {TaskStatus.SUCCESS} == {*await stage.all()}


async def test_one_that_waits_is_cancelled_alone(tmp_path: Path) -> None:
    async def wait(n: int) -> None:
        if n == 5:
            await asyncio.Event().wait()

    stage = Stage(tmp_path, wait)
    async with stage.queue:
        await stage.known()
        handles = await stage.act.enqueue_many([(number,) for number in range(MANY)])
        for number, handle in enumerate(handles):
            if number != 5:
                await handle.result(PATIENCE)
        assert await handles[5].cancel()
        statuses = [(await handle.info()).status for handle in handles]
        assert [TaskStatus.CANCELLED] == [one for one in statuses if one is not TaskStatus.SUCCESS]


async def test_a_timeout_stops_the_one_that_waits_alone(tmp_path: Path) -> None:
    async def wait(n: int) -> None:
        if n == 5:
            await asyncio.Event().wait()

    stage = Stage(tmp_path, wait, timeout=0.05)
    async with stage.queue:
        await stage.known()
        statuses = await stage.all()
    assert TaskStatus.FAILED is statuses.pop(5)
    assert {TaskStatus.SUCCESS} == {*statuses}


async def test_a_task_of_the_loop_that_somebody_cancels_leaves_none_behind(tmp_path: Path) -> None:
    async def quick(n: int) -> int:
        return n

    stage = Stage(tmp_path, quick)
    async with stage.queue:
        await stage.known()
        handles = await stage.act.enqueue_many([(number,) for number in range(MANY)])
        pool = stage.queue._core.access.pools["default"]
        while (runner := pool.runs._starts._next) is None:
            await asyncio.sleep(0)
        runner.cancel()
        await stage.all(1)  # what is started next goes on with them
        for handle in handles:
            await handle.result(PATIENCE)


async def test_what_somebody_cancels_goes_on_though_nothing_else_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def quick(n: int) -> int:
        return n

    stage = Stage(tmp_path, quick)
    async with stage.queue:
        await stage.known()
        starting = stage.queue._core.access.pools["default"].runs._starts
        cancelled = asyncio.Event()
        start = starting.start

        def start_and_cancel(attempt: Attempt) -> None:
            start(attempt)
            if not cancelled.is_set():
                assert starting._next is not None
                starting._next.cancel()
                cancelled.set()

        monkeypatch.setattr(starting, "start", start_and_cancel)
        handle = await stage.act.enqueue(1)
        await cancelled.wait()
        assert 1 == await handle.result(PATIENCE)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks before Python 3.12")
async def test_one_that_waits_holds_up_nobody_where_tasks_begin_eagerly(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def wait(n: int) -> None:
        if n == 0:
            await go_on.wait()

    stage = Stage(tmp_path, wait)
    asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory", None))
    async with stage.queue:
        await stage.known()
        first = await stage.act.enqueue(0)
        while 0 not in stage.tasks:
            await asyncio.sleep(0)
        assert await (await stage.act.enqueue(1)).result(PATIENCE) is None
        go_on.set()
        assert await first.result(PATIENCE) is None


async def test_a_shutdown_lets_nothing_be_lost_that_was_to_start(tmp_path: Path) -> None:
    async def quick(n: int) -> int:
        return n

    stage = Stage(tmp_path, quick)
    async with stage.queue:
        await stage.known()
        await stage.act.enqueue_many([(number,) for number in range(MANY)])
        pool = stage.queue._core.access.pools["default"]
        while not pool.running:
            await asyncio.sleep(0)
    async with stage.queue:
        counts = (await stage.queue.get_task_stats())["by_status"]
    assert MANY + 1 == sum(counts.values())
    assert not counts.get("started")
