"""Once a shutdown was asked for nothing starts, whatever is under way at that moment."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from support.process_tasks import begin_and_read, double
from support.queues import (
    PATIENCE,
    DuckDBHome,
    Gate,
    SteppableClock,
    running,
    until,
    until_status,
)
from wopr import CurrentTask, QueueClosedError, Settings, TaskQueue, TaskStatus
from wopr.executors.beginnings import Beginnings
from wopr.queue.queue import inside

SUCCESS, PENDING = TaskStatus.SUCCESS, TaskStatus.PENDING


class SlowToStop:
    """A service whose end the test allows."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    async def start(self) -> None:
        """Begin."""

    async def stop(self) -> None:
        """End once the gate is open."""
        await self.gate.wait()


def _held_back(target: Any, name: str, gate: Gate) -> Callable[..., Awaitable[Any]]:
    """Return a coroutine function of an object that waits in front of a gate first."""
    original = getattr(target, name)

    async def held(*args: Any, **kwargs: Any) -> Any:
        await gate.wait()
        return await original(*args, **kwargs)

    return held


async def _closing(queue: TaskQueue) -> asyncio.Task[None]:
    closing = asyncio.create_task(queue.shutdown(PATIENCE))
    await asyncio.sleep(0)
    return closing


@pytest.mark.parametrize("under_way", ["a look of the scheduler", "a service that stops"])
async def test_a_worker_that_falls_free_takes_no_task(
    durable_home: DuckDBHome, clock: SteppableClock, under_way: str
) -> None:
    queue, work, barrier = durable_home.queue(clock=clock), Gate(), Gate()

    @queue.task(name="wait")
    async def wait(n: int) -> Any:
        return await work.wait(n)

    @queue.schedule(every=timedelta(minutes=1))
    @queue.task(name="tick", category="elsewhere")
    async def tick() -> None: ...

    async with running(queue, default=1):
        first, second = await wait.enqueue_many([(1,), (2,)])
        await work.arrivals()
        if under_way == "a look of the scheduler":
            firing = inside(queue).access.local.schedules.firing  # type: ignore[union-attr]
            firing.fire = _held_back(firing, "fire", barrier)  # type: ignore[method-assign]
            clock.advance(61)
            looking = asyncio.create_task(queue.schedules.tick())
        else:
            inside(queue).access.services._started.append(SlowToStop(barrier))
            looking = asyncio.create_task(asyncio.sleep(0))
        if under_way == "a look of the scheduler":
            await barrier.arrivals()
        closing = await _closing(queue)
        work.open()
        await until_status(queue, first.id, SUCCESS)
        await queue.storage.flush()
        await asyncio.sleep(0)
        barrier.open()
        await asyncio.gather(closing, looking)
    assert [1] == work.arrived
    async with queue:
        assert PENDING is await second.status()


async def test_a_page_that_is_being_read_brings_nothing_that_starts(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue(settings=Settings(window=10))
    work, pages, barrier = Gate(), Gate(), Gate()

    @queue.task(name="wait")
    async def wait(n: int) -> Any:
        return await work.wait(n)

    async with queue:
        await wait.enqueue_many([(n,) for n in range(100)])
        queue.storage.ready = _held_back(queue.storage, "ready", pages)
        await queue.start_workers("default", 50)
        inside(queue).access.services._started.append(SlowToStop(barrier))
        await asyncio.gather(pages.arrivals(), work.arrivals(10))
        closing = await _closing(queue)
        pages.open()
        work.open()
        await barrier.arrivals()
        while queue.queues["default"]._paging():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        await queue.storage.flush()
        await asyncio.sleep(0)
        barrier.open()
        await closing
    assert list(range(10)) == sorted(work.arrived)


async def test_the_rounds_of_a_look_that_are_left_fire_at_the_next_opening(
    durable_home: DuckDBHome, clock: SteppableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wopr.engine.schedules.scheduler.ROUND", 1)
    queue, barrier = durable_home.queue(clock=clock), Gate()

    @queue.task(name="tick", category="elsewhere")
    async def tick() -> None: ...

    for n in range(3):
        queue.schedule(name=f"s{n}", every=timedelta(minutes=1))(tick)
    async with running(queue, default=1):
        firing = inside(queue).access.local.schedules.firing  # type: ignore[union-attr]
        firing.fire = _held_back(firing, "fire", barrier)  # type: ignore[method-assign]
        clock.advance(61)
        looking = asyncio.create_task(queue.schedules.tick())
        await barrier.arrivals()
        closing = await _closing(queue)
        barrier.open()
        assert 1 == len(await looking)
        await closing
    async with queue:
        assert 2 == len(await queue.schedules.tick())


async def test_a_function_does_not_begin_after_what_came_before_it_in_its_attempt(
    durable_home: DuckDBHome,
) -> None:
    queue, middleware, begun = durable_home.queue(), Gate(), []

    @queue.middleware
    async def hold(task: CurrentTask, rest: Callable[[], Awaitable[Any]]) -> Any:
        await middleware.wait(task.id)
        return await rest()

    @queue.task(name="note")
    async def note() -> None:
        begun.append(1)

    async with queue:
        await queue.start_workers()
        handle = await note.enqueue()
        await middleware.arrivals()
        closing = await _closing(queue)
        middleware.open()
        await closing
    assert [] == begun
    async with queue:
        info = await handle.info()
    assert (PENDING, 0) == (info.status, info.retry_count)


async def test_a_function_that_waits_in_an_executor_does_not_begin(
    durable_home: DuckDBHome,
) -> None:
    queue, go_on, begun = durable_home.queue(), threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as executor:

        @queue.task(name="hold", executor=executor)
        def hold() -> None:
            begun.set()
            go_on.wait(PATIENCE)

        async with queue:
            await queue.start_workers(worker_count=2)
            first, second = await hold.enqueue_many([(), ()])
            await asyncio.to_thread(begun.wait, PATIENCE)
            await until_status(queue, second.id, TaskStatus.STARTED)
            closing = await _closing(queue)
            go_on.set()
            await closing
        async with queue:
            found = [await first.info(), await second.info()]
    assert [(SUCCESS, 0), (PENDING, 0)] == [(one.status, one.retry_count) for one in found]


def test_what_reaches_an_executor_while_a_shutdown_comes_from_a_thread_is_taken_back() -> None:
    beginnings, future = Beginnings(), Future[None]()
    beginnings.check()
    beginnings.end()
    beginnings.wait(future)
    assert future.cancelled()


async def test_a_function_that_waits_for_a_process_does_not_begin(durable_home: DuckDBHome) -> None:
    pipe = durable_home.path.with_name("pipe")
    os.mkfifo(pipe)
    queue = durable_home.queue(settings=Settings(processes=1))
    wait = queue.task(name="wait", executor="process")(begin_and_read)
    then = queue.task(name="then", executor="process")(double)
    async with queue:
        await queue.start_workers(worker_count=2)
        first = await wait.enqueue(str(pipe))
        await until(first.info, lambda info: bool(info.progress_message))
        second = await then.enqueue(1)
        await until_status(queue, second.id, TaskStatus.STARTED)
        closing = await _closing(queue)
        await asyncio.to_thread(pipe.write_bytes, b"go on")
        await closing
    async with queue:
        found = [await first.info(), await second.info()]
    assert [(SUCCESS, 0), (PENDING, 0)] == [(one.status, one.retry_count) for one in found]


async def test_workers_that_are_starting_do_not_outlive_a_shutdown(
    durable_home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = durable_home.queue()
    under_way, go_on = threading.Event(), threading.Event()
    open_sync = type(queue.storage).open_sync

    def slow(storage: object) -> None:
        under_way.set()
        assert go_on.wait(PATIENCE)
        open_sync(storage)

    monkeypatch.setattr(type(queue.storage), "open_sync", slow)
    starting = asyncio.create_task(queue.start_workers())
    await asyncio.to_thread(under_way.wait, PATIENCE)
    closing = await _closing(queue)
    go_on.set()
    await closing
    with pytest.raises(QueueClosedError):
        await starting
    monkeypatch.undo()
    assert {} == queue.workers
    async with durable_home.queue() as other:  # the file is free
        assert other.storage.is_open


def test_closing_from_a_thread_counts_at_once_though_the_loop_is_busy(
    durable_home: DuckDBHome,
) -> None:
    queue, busy, go_on = durable_home.queue(), threading.Event(), threading.Event()

    def keep_busy() -> None:
        busy.set()
        go_on.wait(PATIENCE)

    sync = queue.sync()
    sync(queue.start_workers)
    pool = inside(queue).access.pools["default"]
    home = inside(queue).access.bridge
    assert home is not None
    home.loop.call_soon_threadsafe(keep_busy)
    assert busy.wait(PATIENCE)
    closing = threading.Thread(target=sync.close)
    closing.start()
    try:
        while not home.closing:
            closing.join(0.01)
        closing.join(0.2)
        assert not pool.accepting
    finally:
        go_on.set()
        closing.join()


async def test_a_scheduler_that_is_starting_fires_nothing_after_a_shutdown(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    queue, work, barrier = durable_home.queue(clock=clock), Gate(), Gate()
    wait = queue.task(name="wait")(work.wait)

    @queue.schedule(every=timedelta(minutes=1), run_on_start=True)
    @queue.task(name="tick")
    async def tick() -> None: ...

    async with queue:
        await queue.start_workers()
        await queue.schedules.sync()
        await inside(queue).access.clockwork.stop()
        await wait.enqueue()
        await work.arrivals()
        scheduler = inside(queue).access.local.schedules  # type: ignore[union-attr]
        scheduler.sync = _held_back(scheduler, "sync", barrier)  # type: ignore[method-assign]
        starting = asyncio.create_task(queue.start_scheduler())
        await barrier.arrivals()
        closing = await _closing(queue)
        while inside(queue).access.clockwork.running:
            await asyncio.sleep(0)
        barrier.open()
        await starting
        assert not scheduler.running
        work.open()
        await closing


async def test_a_page_that_is_being_read_is_given_up_without_a_word(
    durable_home: DuckDBHome, caplog: pytest.LogCaptureFixture
) -> None:
    """Its storage closes, which is no trouble that somebody has to hear of."""
    queue, pages = durable_home.queue(settings=Settings(window=10)), Gate()

    @queue.task(name="wait")
    async def wait(n: int) -> int:
        return n

    async with queue:
        await wait.enqueue_many([(n,) for n in range(100)])
        queue.storage.ready = _held_back(queue.storage, "ready", pages)
        await queue.start_workers("default", 1)
        await pages.arrivals()
    pages.open()
    for _ in range(5):  # a read that was left goes on by now
        await asyncio.sleep(0)
    assert [] == [one for one in caplog.records if one.levelname == "ERROR"]
