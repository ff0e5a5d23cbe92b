"""Within inline() a task has run when enqueue returns."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest
from tenacity import wait_fixed

from support.queues import PATIENCE
from wopr import (
    InvalidCallError,
    ResultOf,
    TaskFailedError,
    TaskQueue,
    TaskStatus,
    chain,
    current_task,
)
from wopr.testing import FakeClock, drain, inline

asked_by: ContextVar[str] = ContextVar("asked_by", default="nobody")


async def test_a_task_has_run_when_enqueue_returns_and_so_has_what_it_enqueued(
    queue: TaskQueue,
) -> None:
    ran: list[str] = []

    @queue.task
    async def outer(n: int) -> tuple[str, int]:
        await inner.enqueue("inner", n=n)
        ran.append("outer")
        return "text", n

    @queue.task
    def inner(name: str, n: int) -> None:
        ran.append(name)

    async with inline(queue) as same:
        assert same is queue
        handle = await outer.enqueue(3)
        assert ["inner", "outer"] == ran
        assert ("text", 3) == await handle.result()
    await outer.enqueue(4)
    assert ["inner", "outer"] == ran
    assert {} == queue.workers


async def test_calls_are_checked_and_runs_are_as_for_real(queue: TaskQueue) -> None:
    @queue.task
    async def look(n: int) -> tuple[str, int]:
        return asked_by.get(), current_task().attempt + n

    asked_by.set("the caller")
    async with inline(queue):
        with pytest.raises(InvalidCallError):
            await look.enqueue("text")  # type: ignore[arg-type]
        assert ("nobody", 3) == await (await look.enqueue(2)).result()


async def test_many_and_flows_and_dependents_run_too(queue: TaskQueue) -> None:
    @queue.task
    async def number(n: int) -> int:
        return n

    @queue.task(category="b")
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    async with inline(queue):
        handles = await number.enqueue_many([(1,), (2,)])
        assert [1, 2] == [(await handle.info()).result for handle in handles]
        flow = await queue.enqueue_flow(chain(number.map([1, 2, 3]), total.s()))
        assert 6 == await flow.result(timeout=PATIENCE)
        both = await queue.enqueue(total, ([ResultOf(handle) for handle in handles],))
        assert 3 == (await both.info()).result


async def test_calls_side_by_side_all_run(queue: TaskQueue) -> None:
    @queue.task
    async def outer(n: int) -> int:
        handles = await asyncio.gather(*(inner.enqueue(n) for _ in range(3)))
        return sum([await handle.result() for handle in handles])

    @queue.task
    async def inner(n: int) -> int:
        return n

    async with inline(queue):
        handles = await asyncio.gather(*(outer.enqueue(n) for n in range(5)))
        assert [3 * n for n in range(5)] == [await handle.result() for handle in handles]


async def test_what_makes_a_task_fail_is_raised_by_enqueue(queue: TaskQueue) -> None:
    error = ConnectionError("nobody answers")

    @queue.task
    async def fails() -> None:
        raise error

    async with inline(queue):
        with pytest.raises(ConnectionError) as raised:
            await fails.enqueue()
        assert error is raised.value
    async with inline(queue, raises=False):
        assert TaskStatus.FAILED == await (await fails.enqueue()).status()


async def test_a_failure_outside_of_the_function_is_raised_in_words(queue: TaskQueue) -> None:
    @queue.task
    async def opaque() -> object:
        return object()

    async with inline(queue):
        with pytest.raises(TaskFailedError, match="can't be stored as JSON"):
            await opaque.enqueue()


async def test_what_is_not_due_stays(queue: TaskQueue, clock: FakeClock) -> None:
    @queue.task(max_retries=1, retry=wait_fixed(60))
    async def flaky() -> int:
        if current_task().attempt == 1:
            raise ConnectionError
        return 2

    async with inline(queue):
        handle = await flaky.enqueue()
        assert TaskStatus.RETRY == await handle.status()
        later = await flaky.options(delay=60).enqueue()
        assert TaskStatus.PENDING == await later.status()
        clock.advance(60)
        await drain(queue)
        assert 2 == (await handle.info()).result


async def test_a_queue_that_is_off_says_so() -> None:
    with pytest.raises(InvalidCallError, match="switched off"):
        await inline(TaskQueue(False)).__aenter__()


async def test_what_another_process_enqueues_runs_inline_too(queue: TaskQueue) -> None:
    @queue.task(name="double")
    def double(number: int) -> int:
        return 2 * number

    other = TaskQueue(enabled=True, database=queue.database)  # comes through the socket
    other.register_task("double")(double.function)
    async with inline(queue):
        handle = await other.enqueue("double", (21,))
        assert TaskStatus.SUCCESS is await handle.status()
    handle = await other.enqueue("double", (21,))
    assert TaskStatus.PENDING is await handle.status()
    await other.shutdown()


async def test_a_block_within_another_one_goes_through_both(queue: TaskQueue) -> None:
    @queue.task
    def failing() -> None:
        raise ValueError("no")

    async with inline(queue, raises=True), inline(queue, raises=False):
        with pytest.raises(ValueError, match="no"):
            await failing.enqueue()
    async with inline(queue, raises=False), inline(queue, raises=False):
        assert TaskStatus.FAILED is await (await failing.enqueue()).status()


async def test_a_queue_that_is_opened_again_within_the_block_still_runs_inline(
    queue: TaskQueue,
) -> None:
    @queue.task
    def nothing() -> None: ...

    async with inline(queue):
        await queue.shutdown()
        assert TaskStatus.SUCCESS is await (await nothing.enqueue()).status()
