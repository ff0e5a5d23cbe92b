"""Attempts that run too long, and those that don't stop when they are told to."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable

from tenacity import stop_after_attempt, wait_fixed

from support.queues import PATIENCE, DuckDBHome, Gate, Home, ended, run_out_of_time, running, until
from wopr import SoftTimeoutError, TaskQueue, TaskStatus, current_task
from wopr.queue.queue import inside
from wopr.running.attempt import Attempt

SUCCESS, FAILED, CANCELLED = TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.CANCELLED


def attempt_of(queue: TaskQueue, task_id: str) -> Attempt:
    return inside(queue).access.slots["default"].running[task_id]


def can_expire(attempt: Attempt) -> bool:
    """Whether its timeout, or what follows from it, is still to come."""
    assert attempt.timer is not None
    return not attempt.timer.cancelled()


async def test_a_coroutine_that_catches_its_cancellation_does_not_hold_its_worker(
    home: Home,
) -> None:
    queue, gate = home.queue(), Gate()
    stubborn = 0

    @queue.task(name="stubborn", timeout=0.01)
    async def goes_on() -> None:
        nonlocal stubborn
        while not gate._open.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                stubborn += 1

    @queue.task(name="other")
    async def other() -> str:
        return "ran"

    async with running(queue, default=1):
        handle = await goes_on.enqueue()
        assert await (await other.enqueue()).result() == "ran"
        [info] = await ended(queue, handle.id)
        assert info.status is FAILED
        assert info.error == (
            "TimeoutError: attempt 1 of task 'stubborn' ran longer than its timeout of 0.01 s"
        )
        assert stubborn == 1
        gate.open()


async def test_a_cancelled_coroutine_that_goes_on_does_not_hold_its_worker(home: Home) -> None:
    queue, gate, cleaning = home.queue(), Gate(), Gate()

    @queue.task(name="work")
    async def work() -> None:
        try:
            await gate.wait()
        finally:
            await cleaning.wait()

    @queue.task(name="other")
    async def other() -> str:
        return "ran"

    async with running(queue, default=1):
        handle = await work.enqueue()
        await gate.arrivals()
        assert await handle.cancel()
        await cleaning.arrivals()
        assert await (await other.enqueue()).result() == "ran"
        assert await handle.status() is CANCELLED
        cleaning.open()


async def test_what_a_timed_out_coroutine_does_to_clean_up_comes_before_the_next_attempt(
    home: Home,
) -> None:
    queue, order = home.queue(), []

    @queue.task(name="work", timeout=0.02, max_retries=1, retry=wait_fixed(0))
    async def work() -> str:
        attempt = current_task().attempt
        order.append(f"begin {attempt}")
        if attempt == 2:
            return "done"
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(10):
                await asyncio.sleep(0)
            order.append("cleaned up")
        return "never"

    async with running(queue, default=4):
        handle = await work.enqueue()
        assert await handle.result(timeout=PATIENCE) == "done"
    assert order == ["begin 1", "cleaned up", "begin 2"]


async def test_a_thread_that_ran_out_of_time_is_left_to_itself_and_reported(
    durable_home: DuckDBHome,
) -> None:
    queue, begun, release = durable_home.queue(), threading.Event(), threading.Event()

    @queue.task(name="stuck", timeout=3_600)
    def stuck() -> None:
        begun.set()
        release.wait()

    @queue.task(name="other")
    def other() -> str:
        return "ran"

    async with running(queue, default=1):
        handle = await stuck.enqueue()
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        run_out_of_time(queue, handle.id)
        [info] = await ended(queue, handle.id)
        assert info.status is FAILED
        assert await (await other.enqueue()).result() == "ran"
        engine = inside(queue).access._engine
        assert engine is not None
        abandoned = engine.shared.surroundings.executors

        async def names() -> list[str]:
            return [one.name for one in abandoned.abandoned]

        assert await names() == ["stuck"]
        release.set()
        await until(names, lambda seen: not seen)


async def test_the_soft_timeout_is_raised_inside_the_function(home: Home) -> None:
    queue = home.queue()

    @queue.task(name="coroutine", soft_timeout=0.01, timeout=30)
    async def coroutine() -> str:
        try:
            await asyncio.Event().wait()
        except SoftTimeoutError:
            return "what I have"
        return "everything"

    @queue.task(name="thread", soft_timeout=0.01)
    def thread() -> str:
        event = threading.Event()
        try:
            while True:
                event.wait(0.001)
        except SoftTimeoutError:
            return "what I have"

    @queue.task(name="failing", soft_timeout=0.01)
    async def failing() -> None:
        await asyncio.Event().wait()

    async with running(queue, default=3):
        handles = [await coroutine.enqueue(), await thread.enqueue()]
        assert [await handle.result(timeout=PATIENCE) for handle in handles] == ["what I have"] * 2
        [info] = await ended(queue, (await failing.enqueue()).id)
        assert info.status is FAILED
        assert info.error_type == "wopr.domain.errors.SoftTimeoutError"


async def test_a_call_may_have_timeouts_of_its_own(home: Home) -> None:
    queue = home.queue()

    @queue.task(name="work")
    async def work() -> None:
        await asyncio.Event().wait()

    async with running(queue, default=2):
        soft = await work.options(soft_timeout=0.01).enqueue()
        hard = await work.options(timeout=0.01).enqueue()
        errors = [info.error or "" for info in await ended(queue, soft.id, hard.id)]
    assert "SoftTimeoutError" in errors[0]
    assert "timeout of 0.01 s" in errors[1]


async def test_a_second_shutdown_without_grace_ends_the_grace_time_of_the_first(
    home: Home,
) -> None:
    queue, gate = home.queue(), Gate()

    @queue.task(name="work")
    async def work() -> None:
        await gate.wait()

    async with queue:
        await queue.start_workers("default", 1)
        handle = await work.enqueue()
        await gate.arrivals()
        first = asyncio.create_task(queue.shutdown(timeout=3_600))
        await until(_stopping(queue), bool)
        assert not first.done()
        await queue.shutdown(timeout=0)
        await first
        info = await queue.require_task_info(handle.id)
        assert (info.status, info.attempt) == (TaskStatus.PENDING, 1)


def _stopping(queue: TaskQueue) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        works = inside(queue).access.works
        return works is not None and works.stopping

    return look


# -- an attempt that has ended, or is stopped, does not run out of time any more ------------


async def test_the_time_that_reading_the_history_takes_is_not_that_of_the_function(
    durable_home: DuckDBHome,
) -> None:
    queue, gate = durable_home.queue(), Gate()

    @queue.task(name="work", timeout=3_600, retry=[wait_fixed(0), stop_after_attempt(2)])
    async def work() -> None:
        raise ValueError("broken")

    async with running(queue, default=1):
        history = queue.storage.history

        async def slow(task_id: str) -> object:
            await gate.wait(task_id)
            return await history(task_id)

        queue.storage.history = slow
        handle = await work.enqueue()
        await gate.arrivals()
        assert not can_expire(attempt_of(queue, handle.id))
        gate.open()
        [info] = await ended(queue, handle.id)
        assert (info.status, info.error) == (FAILED, "ValueError: broken")


async def test_an_attempt_that_is_stopped_while_the_history_is_read_was_interrupted(
    durable_home: DuckDBHome,
) -> None:
    queue, gate = durable_home.queue(), Gate()

    @queue.task(name="work", retry=[wait_fixed(0), stop_after_attempt(2)])
    async def work() -> None:
        raise ValueError("broken")

    async with queue:
        await queue.start_workers("default", 1)

        async def never(task_id: str) -> object:
            return await gate.wait(task_id)

        queue.storage.history = never
        handle = await work.enqueue()
        await gate.arrivals()
        attempt = attempt_of(queue, handle.id)
        await queue.shutdown(timeout=0)
        assert attempt.task is not None
        assert not attempt.task.cancelled()  # it said itself what came of it
    async with durable_home.queue() as again:
        assert (await again.require_task_info(handle.id)).status is TaskStatus.PENDING
        assert (await again.get_history(handle.id))[-1].reason == "shutdown"


async def test_a_cancelled_function_that_cleans_up_is_not_stopped_again_by_its_timeout(
    home: Home,
) -> None:
    queue, gate, cleaning = home.queue(), Gate(), Gate()

    @queue.task(name="work", timeout=3_600)
    async def work() -> None:
        try:
            await gate.wait()
        finally:
            await cleaning.wait()

    async with running(queue, default=1):
        handle = await work.enqueue()
        await gate.arrivals()
        attempt = attempt_of(queue, handle.id)
        assert can_expire(attempt)
        assert await handle.cancel()
        await cleaning.arrivals()
        assert not can_expire(attempt)
        cleaning.open()


def _stubborn(queue: TaskQueue, gate: Gate, timeout: float | None = None) -> None:
    """Register a task that goes on when it is told to stop, and fails once the gate opens."""

    @queue.task(name="stubborn", timeout=timeout)
    async def stubborn() -> None:
        while not gate._open.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await gate.wait()
        raise ValueError("too late")


async def test_a_function_that_outlives_the_shutdown_does_not_run_out_of_time_later(
    home: Home,
) -> None:
    queue, gate = home.queue(), Gate()
    _stubborn(queue, gate, timeout=3_600)
    async with running(queue, default=1):
        task_id = await queue.add_task("stubborn")
        await gate.arrivals()
        attempt = attempt_of(queue, task_id)
    gate.open()
    assert not can_expire(attempt)


async def test_what_a_function_raises_that_outlives_the_shutdown_is_ignored(home: Home) -> None:
    queue, gate = home.queue(), Gate()
    _stubborn(queue, gate)
    async with running(queue, default=1):
        task_id = await queue.add_task("stubborn")
        await gate.arrivals()
        task = attempt_of(queue, task_id).task
    gate.open()
    assert task is not None
    await asyncio.wait([task])
    assert task.exception() is None
    async with home.queue() as again:
        info = await again.require_task_info(task_id)
        assert (info.status, info.error) == (TaskStatus.PENDING, None)
