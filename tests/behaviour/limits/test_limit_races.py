"""Limits that change, and callers that come, wait and go, at the worst moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

import pytest

from support.queues import (
    PATIENCE,
    DuckDBHome,
    Gate,
    Home,
    SteppableClock,
    ended,
    running,
    until,
)
from wopr import (
    BacklogFullError,
    OnFull,
    QueueClosedError,
    TaskHandle,
    TaskQueue,
    group,
)
from wopr.engine.engine import Engine
from wopr.engine.pools.pool import Pool
from wopr.queue.queue import inside

T = TypeVar("T")


def engine_of(queue: TaskQueue) -> Engine:
    engine = inside(queue).access._engine
    assert engine is not None
    return engine


def pool_of(queue: TaskQueue) -> Pool:
    return engine_of(queue).pools["default"]


def work_of(queue: TaskQueue, category: str = "default") -> Any:
    """Register a task that does nothing; return it."""

    @queue.task(name=f"work in {category}", category=category)
    async def work(n: int) -> None: ...

    return work


async def waiting(queue: TaskQueue, count: int, category: str = "default") -> None:
    """Return once so many calls wait for room."""

    async def look() -> int:
        return len(engine_of(queue).limits.backlogs[category]._callers)

    await until(look, lambda seen: seen == count)


async def call(task: Any, n: int) -> asyncio.Task[TaskHandle[Any]]:
    """Enqueue in a task of its own, which has begun."""
    calling = asyncio.create_task(task.enqueue(n))
    await asyncio.sleep(0)
    return calling


async def result(task: asyncio.Task[T]) -> T:
    async with asyncio.timeout(PATIENCE):
        return await task


async def queued(queue: TaskQueue) -> int:
    """Return how many wait in the storage, once all that was handed over is there."""
    return int((await queue.get_task_stats())["queued"])


async def send_away(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def busy_journal(queue: TaskQueue) -> AsyncIterator[None]:
    """Let the storage write nothing meanwhile."""
    writing = queue.storage._journal._writing
    assert await asyncio.to_thread(writing.acquire, timeout=PATIENCE)
    try:
        yield
    finally:
        writing.release()


# -- who may wait -----------------------------------------------------------------


async def test_who_waits_for_room_goes_on_waiting_when_another_limit_changes(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()
    work = work_of(queue)
    async with queue:
        await queue.set_limit("default", backlog=2)
        await work.enqueue_many([(0,), (1,)])
        calls = [await call(work, n) for n in range(2, 7)]
        await waiting(queue, 5)
        await queue.set_limit("default", concurrency=7)
        await engine_of(queue).limits.built()
        assert await queued(queue) == 2
        assert not any(one.done() for one in calls)
        await queue.set_limit("default", backlog=4)
        handles = [await result(one) for one in calls[:2]]
        assert [(await handle.info()).args for handle in handles] == [(2,), (3,)]
        await waiting(queue, 3)
        assert await queued(queue) == 4
        await queue.remove_limit("default")
        for one in calls[2:]:
            await result(one)
        assert await queued(queue) == 7


async def test_who_waits_for_room_is_refused_once_that_is_the_policy(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()
    work = work_of(queue)
    async with queue:
        await queue.set_limit("default", backlog=1)
        await work.enqueue(0)
        calls = [await call(work, n) for n in range(3)]
        await waiting(queue, 3)
        await queue.set_limit("default", on_full=OnFull.REFUSE)
        for one in calls:
            with pytest.raises(BacklogFullError):
                await result(one)
        assert await queued(queue) == 1


async def test_who_waits_for_room_at_a_shutdown_gets_an_error_and_nothing_is_written(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()
    work = work_of(queue)
    async with queue:
        await queue.set_limit("default", backlog=2)
        await work.enqueue_many([(0,), (1,)])
        calls = [await call(work, n) for n in range(5)]
        await waiting(queue, 5)
    for one in calls:
        with pytest.raises(QueueClosedError, match="waited for room"):
            await result(one)
    async with durable_home.queue() as again:
        assert await queued(again) == 2


async def test_a_call_for_many_is_not_overtaken_by_smaller_ones(durable_home: DuckDBHome) -> None:
    queue = durable_home.queue()
    work = work_of(queue)
    async with queue:
        await queue.set_limit("default", backlog=2)
        first, second = await work.enqueue_many([(0,), (1,)])
        many = asyncio.create_task(work.enqueue_many([(2,), (3,)]))
        await waiting(queue, 1)
        one = await call(work, 4)
        await waiting(queue, 2)
        await first.cancel()
        await waiting(queue, 2)  # there is room for one, but it is not its turn
        await second.cancel()
        assert len(await result(many)) == 2
        await waiting(queue, 1)
        assert await queued(queue) == 2
        await send_away([one])


async def test_who_comes_at_the_moment_there_is_room_does_not_go_first(
    durable_home: DuckDBHome,
) -> None:
    queue, late = durable_home.queue(), list[asyncio.Task[Any]]()
    work = work_of(queue)

    @queue.on("task.cancelled")
    async def come(event: object) -> None:
        late.append(await call(work, 2))

    async with queue:
        await queue.set_limit("default", backlog=1)
        first = await work.enqueue(0)
        early = await call(work, 1)
        await waiting(queue, 1)
        await first.cancel()
        assert (await (await result(early)).info()).args == (1,)
        await waiting(queue, 1)
        assert await queued(queue) == 1
        await send_away(late)


async def test_a_call_for_many_that_gives_up_lets_the_smaller_ones_behind_it_go(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()
    work = work_of(queue)
    async with queue:
        await queue.set_limit("default", backlog=5)
        await work.enqueue_many([(n,) for n in range(4)])
        many = asyncio.create_task(work.enqueue_many([(4,), (5,)]))
        await waiting(queue, 1)
        one = await call(work, 6)
        await waiting(queue, 2)
        await send_away([many])
        await result(one)
        assert await queued(queue) == 5


async def test_a_task_that_is_being_written_counts_although_its_caller_has_gone(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()
    work = work_of(queue)
    async with queue:
        await queue.set_limit("default", backlog=1, on_full=OnFull.REFUSE)
        await engine_of(queue).limits.built()
        async with busy_journal(queue):
            gone = await call(work, 1)
            await until(lambda: _live(queue), bool)
            await send_away([gone])
            next_one = await call(work, 2)
            with pytest.raises(BacklogFullError):
                await result(next_one)
        assert await queued(queue) == 1
        [task] = await queue.get_tasks()
        await queue.cancel_task(task.id)
        await work.enqueue(3)  # what went is not counted for ever


async def _live(queue: TaskQueue) -> int:
    return len(engine_of(queue).shared.live)


async def test_flows_that_need_room_in_two_categories_do_not_wait_for_each_other(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()
    a, b = work_of(queue, "a"), work_of(queue, "b")
    async with queue:
        for category in ("a", "b"):
            await queue.set_limit(category, backlog=1)
        full = [await a.enqueue(0), await b.enqueue(0)]
        flows = [
            asyncio.create_task(queue.enqueue_flow(group(*steps)))
            for steps in ((a.s(1), b.s(1)), (b.s(2), a.s(2)))
        ]
        await waiting(queue, 2, "a")
        for handle in full:
            await handle.cancel()
        async with asyncio.timeout(PATIENCE):
            done, late = await asyncio.wait(flows, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1
        assert await queued(queue) == 2
        await send_away(late)


async def test_nothing_is_dropped_for_a_new_task_if_all_wait_for_others(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()
    work, parent = work_of(queue), work_of(queue, "elsewhere")
    async with queue:
        await queue.set_limit("default", backlog=2, on_full=OnFull.DROP_OLDEST)
        first = await parent.enqueue(0)
        for n in range(2):
            await work.options(depends_on=[first]).enqueue(n)
        with pytest.raises(BacklogFullError):
            await result(await call(work, 3))
        assert await queued(queue) == 3


# -- what counts --------------------------------------------------------------------


async def test_an_attempt_that_cleans_up_counts_once_when_the_limits_change(home: Home) -> None:
    queue, cleaning = home.queue(), Gate()

    @queue.task(name="slow", timeout=0.02)
    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await cleaning.wait()

    work = work_of(queue)
    async with running(queue, default=3):
        await queue.set_limit("default", concurrency=2)
        handle = await slow.enqueue()
        await cleaning.arrivals()
        await queue.set_limit("default", concurrency=1)
        await engine_of(queue).limits.built()
        assert [meter.running for meter in _meters(queue)] == [1]
        cleaning.open()
        await ended(queue, handle.id, (await work.enqueue(1)).id)
        await until(lambda: _running(queue), lambda seen: seen == [0])


def _meters(queue: TaskQueue) -> list[Any]:
    gate = pool_of(queue).gate
    assert gate is not None
    return gate._whole


async def _running(queue: TaskQueue) -> list[int]:
    return [meter.running for meter in _meters(queue)]


async def test_a_limit_by_argument_counts_for_a_function_that_is_registered_later(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()

    @queue.task(name="visit")
    async def visit(customer: str) -> None: ...

    hold = _holding(queue, Gate())
    async with queue:
        first = await hold.enqueue()
        ids = [(await visit.enqueue("a")).id for _ in range(6)]

    queue, gate, inside, most = durable_home.queue(), Gate(), Counter[str](), 0
    _holding(queue, gate)
    async with running(queue, default=1):
        await queue.set_limit("default", key="customer", concurrency=1)
        await gate.arrivals()

        @queue.task(name="visit")
        async def visit_again(customer: str) -> None:
            nonlocal most
            inside[customer] += 1
            most = max(most, inside[customer])
            for _ in range(3):
                await asyncio.sleep(0)
            inside[customer] -= 1

        await queue.start_workers("default", 4)
        await ended(queue, *ids)
        gate.open()
        await ended(queue, first.id)
    assert most == 1


def _holding(queue: TaskQueue, gate: Gate) -> Any:
    @queue.task(name="hold")
    async def hold() -> None:
        await gate.wait()

    return hold


async def test_nobody_looks_again_and_again_while_all_are_busy_and_a_period_has_passed(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    queue, gate = durable_home.queue(clock=clock), Gate()
    hold = _holding(queue, gate)
    async with running(queue, default=2):
        await queue.set_limit("default", rate="1/10s")
        await hold.enqueue()
        await gate.arrivals(1)
        pool = pool_of(queue)
        pool.wake()
        await until(lambda: _timer(pool), bool)
        clock.advance(10)
        await hold.enqueue()
        await gate.arrivals(2)
        pool.wake()
        await until(lambda: _scheduled(pool), lambda seen: not seen)
        assert not await _timer(pool)  # which would be due at once
        gate.open()


async def _timer(pool: Pool) -> bool:
    return pool._timer is not None


async def _scheduled(pool: Pool) -> bool:
    return pool._scheduled


async def test_two_changes_of_one_limit_at_the_same_time_both_count(home: Home) -> None:
    async with home.queue() as queue:
        await asyncio.gather(
            queue.set_limit("default", concurrency=3),
            queue.set_limit("default", rate="1/s"),
            queue.set_limit("default", backlog=5),
        )
        [limit] = await queue.limits()
        assert (limit.concurrency, limit.rate, limit.backlog) == (3, 1, 5)


async def test_a_cancelled_task_that_cleans_up_counts_under_the_next_limits_too(
    durable_home: DuckDBHome,
) -> None:
    queue, gate, cleaning = durable_home.queue(), Gate(), Gate()

    @queue.task(name="work")
    async def work(n: int) -> int:
        try:
            return await gate.wait(n)
        finally:
            await cleaning.wait(n)

    async with running(queue, default=3):
        await queue.set_limit("default", concurrency=2)
        first = await work.enqueue(1)
        await gate.arrivals()
        assert await first.cancel()
        await cleaning.arrivals()
        await queue.set_limit("default", concurrency=1)
        second = await work.enqueue(2)
        assert (await queue.explain(second.id)).reason in {"limited", "limits"}
        gate.open()
        cleaning.open()
        assert await second.result(timeout=PATIENCE) == 2
