"""The queue from code without an event loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.forks import in_child
from support.queues import PATIENCE, DuckDBHome, Home
from wopr import QueueClosedError, TaskNotRegisteredError, TaskQueue
from wopr.queue.queue import inside
from wopr.queue.sync import SyncQueue


def echo_on(queue: TaskQueue) -> None:
    @queue.register_task("echo", "c")
    async def echo(n: int) -> int:
        return n


def test_threads_share_one_queue(home: Home) -> None:
    queue = home.queue()

    @queue.task(name="double", category="c")
    async def double(n: int) -> int:
        return 2 * n

    with queue.sync() as sync:
        sync(queue.start_workers, "c", 2)

        def one(n: int) -> int:
            return sync(sync(double.enqueue, n).result, timeout=PATIENCE)

        with ThreadPoolExecutor(8) as threads:
            assert [2 * n for n in range(40)] == list(threads.map(one, range(40)))
        assert {"success": 40} == sync(queue.get_task_stats)["by_status"]


def test_errors_come_through(home: Home) -> None:
    queue = home.queue()
    with queue.sync() as sync, pytest.raises(TaskNotRegisteredError):
        sync(queue.add_task, "nothing")


def test_a_sync_task_may_enqueue_and_wait_through_the_facade(home: Home) -> None:
    queue = home.queue()
    echo_on(queue)
    sync = queue.sync()

    @queue.register_task("outer", "outer")
    def outer(n: int) -> int:
        handle = sync(queue.enqueue, "echo", (n + 1,))
        return int(sync(handle.result, timeout=PATIENCE))

    with sync:
        sync(queue.start_workers, "c")
        sync(queue.start_workers, "outer")
        handle = sync(queue.enqueue, "outer", (1,))
        assert 2 == sync(handle.result, timeout=PATIENCE)


def test_the_queues_own_loop_can_not_wait_for_itself(home: Home) -> None:
    queue = home.queue()
    sync = queue.sync()

    @queue.register_task("selfish", "c")
    async def selfish() -> str:
        try:
            sync(queue.get_task_stats)
        except QueueClosedError as error:
            return str(error)
        return "no error"

    with sync:
        sync(queue.start_workers, "c")
        handle = sync(queue.enqueue, "selfish")
        assert "can't wait for that loop" in sync(handle.result, timeout=PATIENCE)


def test_closing_twice_and_opening_again_works(home: Home) -> None:
    queue = home.queue()
    echo_on(queue)
    for n in range(2):
        with queue.sync() as sync:
            sync(queue.add_task, "echo", n=n)
        sync.close()
    with queue.sync() as sync:
        assert 2 == sync(queue.get_task_stats)["total"]
    assert [] == [one.name for one in threading.enumerate() if one.name == "wopr-loop"]


async def test_another_event_loop_is_refused(home: Home) -> None:
    queue = home.queue()
    echo_on(queue)
    async with queue:
        with pytest.raises(QueueClosedError, match="open on another event loop"):
            await asyncio.to_thread(asyncio.run, queue.get_task_stats())


def test_one_loop_after_the_other_is_fine(home: Home) -> None:
    queue = home.queue()
    echo_on(queue)

    async def work(n: int) -> int:
        async with queue:
            await queue.start_workers("c")
            handle = await queue.enqueue("echo", (n,))
            return int(await handle.result(timeout=PATIENCE))

    assert [0, 1] == [asyncio.run(work(n)) for n in range(2)]


def test_bridges_that_begin_at_the_same_moment_share_one_queue(home: Home) -> None:
    queue = home.queue()
    echo_on(queue)
    bridges, begin = [queue.sync() for _ in range(8)], threading.Barrier(8)

    def use(sync: SyncQueue) -> str:
        begin.wait(PATIENCE)
        return sync(queue.add_task, "echo", n=1)

    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(use, bridges))
    assert 8 == len({*ids}) == bridges[0](queue.get_task_stats)["total"]
    for sync in bridges:
        sync.close()
    assert [] == [one.name for one in threading.enumerate() if one.name == "wopr-loop"]


def test_calls_while_another_thread_closes_end_with_an_error(home: Home) -> None:
    queue = home.queue()
    gate, kept, begun = threading.Event(), threading.Event(), threading.Event()

    @queue.register_task("holds", "c")
    async def holds() -> None:
        gate.set()
        await asyncio.to_thread(kept.wait, PATIENCE)

    async def waits() -> None:
        begun.set()
        await asyncio.Event().wait()

    sync, other = queue.sync(), queue.sync()
    sync(queue.start_workers, "c")
    sync(queue.add_task, "holds")
    assert gate.wait(PATIENCE)
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(sync, waits)
        assert begun.wait(PATIENCE)
        closing = threads.submit(sync.close)
        while not (bridge := inside(queue).access.bridge) or not bridge.closing:
            assert not closing.done()
        with pytest.raises(QueueClosedError, match="is closing the queue"):
            other(queue.get_task_stats)
        kept.set()
        closing.result(PATIENCE)
        with pytest.raises(QueueClosedError, match="was closed while"):
            waiting.result(PATIENCE)


def test_a_forked_process_is_told_instead_of_waiting_for_ever(durable_home: DuckDBHome) -> None:
    queue = durable_home.queue()
    with queue.sync() as sync:
        sync(queue.get_task_stats)
        said = in_child(lambda: sync(queue.get_task_stats))
        assert said.startswith("StorageForkedError")
        assert "was forked" in said
