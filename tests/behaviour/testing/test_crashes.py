"""A worker that dies at a point: recovery runs the task again, and tests can see it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.queues import PATIENCE, Gate
from wopr import InvalidCallError, TaskNotFoundError, TaskQueue, TaskStatus, current_task
from wopr.queue.queue import inside
from wopr.testing import FakeClock, crash_at, drain, run_twice

POINTS = ["before_run", "after_run", "before_commit"]


@pytest.mark.parametrize("kind", ["async", "plain"])
@pytest.mark.parametrize(
    ("point", "calls"), [("before_run", [2]), ("after_run", [1, 2]), ("before_commit", [1, 2])]
)
async def test_the_task_runs_again_after_its_worker_died(
    queue: TaskQueue, point: Any, calls: list[int], kind: str
) -> None:
    seen: list[int] = []

    def plain(n: int) -> int:
        seen.append(current_task().attempt)
        return n

    async def charge(n: int) -> int:
        return plain(n)

    queue.register_task("charge", "c")(plain if kind == "plain" else charge)
    info = await run_twice(queue, await queue.add_task("charge", n=7), point)
    assert (TaskStatus.SUCCESS, 7, 2) == (info.status, info.result, info.attempt)
    assert calls == seen
    history = [entry.reason for entry in await queue.get_history(info.id)]
    assert ["add", "claim", "worker lost", "claim", "succeed"] == history


async def test_it_may_die_again_until_it_is_given_up(queue: TaskQueue) -> None:
    queue.register_task("charge")(lambda: None)
    task_id = await queue.add_task("charge")
    async with contextlib.AsyncExitStack() as stack:
        for point in ("before_run", "after_run", "before_commit"):
            await stack.enter_async_context(crash_at(queue, point))
        await drain(queue)
    info = await queue.require_task_info(task_id)
    assert (TaskStatus.FAILED, 3) == (info.status, info.attempt)


@pytest.mark.parametrize("point", POINTS)
async def test_only_the_chosen_task_dies(queue: TaskQueue, point: Any) -> None:
    one = queue.task(name="one")(lambda: 1)
    two = queue.task(name="two")(lambda: 2)
    handle = await one.enqueue()
    others = [await two.enqueue(), await one.enqueue()]
    async with crash_at(queue, point, task=handle):
        await drain(queue)
    assert 2 == (await handle.info()).attempt
    assert [1, 1] == [(await other.info()).attempt for other in others]
    async with crash_at(queue, point, task=two):
        handle = await two.enqueue()
        await drain(queue)
    assert 2 == (await handle.info()).attempt


async def test_one_that_fails_dies_too(queue: TaskQueue) -> None:
    @queue.task
    async def fails() -> None:
        raise ValueError

    handle = await fails.enqueue()
    async with crash_at(queue, "after_run"):
        await drain(queue)
    info = await handle.info()
    assert (TaskStatus.FAILED, 2) == (info.status, info.attempt)


async def test_whatever_runs_meanwhile_runs_again_too(queue: TaskQueue) -> None:
    gate = Gate()

    @queue.task(category="slow")
    async def slow() -> None:
        await gate.wait(current_task().attempt)

    @queue.task(category="quick")
    async def quick() -> None:
        await gate.arrivals(1)
        gate.open() if current_task().attempt == 2 else None

    first = await slow.enqueue()
    second = await quick.enqueue()
    async with crash_at(queue, "after_run", task="quick"):
        await drain(queue)
    assert [2, 2] == [(await one.info()).attempt for one in (first, second)]
    assert [1, 2] == gate.arrived


async def test_workers_of_the_application_start_again(queue: TaskQueue) -> None:
    @queue.task
    async def note() -> int:
        return current_task().attempt

    await queue.start_workers("default", 3)
    async with crash_at(queue, "before_run"):
        handle = await note.enqueue()
    assert 2 == await handle.result(timeout=PATIENCE)
    assert 3 == len(queue.workers["default"])


async def test_clock_delays_and_resources_go_on(queue: TaskQueue, clock: FakeClock) -> None:
    class Client: ...

    opened: list[Client] = []

    @queue.resource(provides=Client)
    async def client() -> AsyncIterator[Client]:
        opened.append(Client())
        yield opened[-1]

    async def use(client: object) -> None: ...

    use.__annotations__["client"] = Client
    queue.register_task("use")(use)
    handle = await queue.enqueue("use", delay=60)
    clock.advance(60)
    info = await run_twice(queue, handle)
    assert (TaskStatus.SUCCESS, 2) == (info.status, len(opened))


async def test_a_block_in_which_nothing_died_is_a_failure(queue: TaskQueue) -> None:
    queue.register_task("note")(lambda: None)
    await queue.add_task("note")
    with pytest.raises(AssertionError, match=r"No attempt of 'other' came to 'before_commit'"):
        async with crash_at(queue, "before_commit", task="other"):
            await drain(queue)
    with pytest.raises(AssertionError, match=r"No attempt came to 'after_run' in the block"):
        async with crash_at(queue, "after_run"):
            pass
    assert [] == inside(queue).registry.middlewares


async def test_an_error_of_the_block_is_told_as_it_is(queue: TaskQueue) -> None:
    with pytest.raises(ZeroDivisionError):
        async with crash_at(queue, "after_run"):
            raise ZeroDivisionError


async def test_points_and_tasks_that_do_not_exist_are_refused(queue: TaskQueue) -> None:
    point: Any = "in_between"
    with pytest.raises(InvalidCallError, match="there are before_run, after_run, before_commit"):
        await crash_at(queue, point).__aenter__()
    with pytest.raises(TaskNotFoundError):
        await run_twice(queue, "01890a5d-ac96-774b-bcce-b302099a8057")


async def test_a_function_that_catches_its_end_is_left_behind(queue: TaskQueue) -> None:
    ended = asyncio.Event()

    @queue.task(category="stubborn")
    async def stubborn() -> None:
        if current_task().attempt == 2:
            return
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await ended.wait()

    @queue.task
    async def note() -> None: ...

    await queue.start_workers("stubborn")
    handle = await stubborn.enqueue()
    await note.enqueue()
    async with crash_at(queue, "after_run", task=note):
        await drain(queue)
    assert TaskStatus.SUCCESS == await handle.status()
    ended.set()
