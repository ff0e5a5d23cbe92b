"""What waits may be far larger than memory: it is held in part, and all of it runs in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tenacity import wait_fixed

from support.queues import DuckDBHome, Gate, Home, SteppableClock, ended, running, until
from wopr import OnFull, RetryPolicy, Settings, Task, TaskPriority, TaskQueue, TaskStatus
from wopr.engine import memory, recovery
from wopr.engine.engine import Engine
from wopr.engine.limits import backlog
from wopr.queue.queue import inside

MEMORY = 100_000
"""Bytes that the lanes of a queue may hold in these tests."""
LARGE = "x" * 5_000
COUNT = 100


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give queues less memory for what waits than the tasks of a test have."""
    monkeypatch.setattr(memory, "MEMORY_BYTES", MEMORY)


def note(queue: TaskQueue, ran: list[int]) -> Task[[int, str], None]:
    """Register a task that notes its number."""

    @queue.task(name="note")
    async def note(number: int, text: str) -> None:
        assert LARGE == text
        ran.append(number)

    return note


def calls(count: int = COUNT) -> list[tuple[int, str]]:
    return [(number, LARGE) for number in range(count)]


def free(queue: TaskQueue) -> int:
    """Return how many bytes may still be held."""
    return engine_of(queue).shared.memory.free


async def all_given_back(queue: TaskQueue) -> None:
    """Wait until nothing is held: a page may still be on its way."""

    async def left() -> int:
        return free(queue)

    await until(left, lambda found: found == MEMORY)


def held(queue: TaskQueue) -> int:
    """Return how many waiting tasks are in memory."""
    return sum(pool.lanes.qsize() for pool in engine_of(queue).pools.values())


def engine_of(queue: TaskQueue) -> Engine:
    engine = inside(queue).access.engine
    assert engine is not None
    return engine


async def all_ran(queue: TaskQueue, ran: list[int], count: int = COUNT) -> None:
    async def look() -> int:
        return len(ran)

    await until(look, lambda seen: seen == count)
    await until(queue.get_task_stats, lambda stats: stats["by_status"] == {"success": count})


async def test_what_is_enqueued_without_workers_is_held_in_part_and_runs_in_order(
    home: Home,
) -> None:
    queue, ran = home.queue(), list[int]()
    task = note(queue, ran)
    async with queue:
        await task.enqueue_many(calls())
        assert 0 < held(queue) < COUNT // 4
        assert 0 < free(queue)
        await queue.start_workers("default", 1)
        await all_ran(queue, ran)
        assert [*range(COUNT)] == ran
        await all_given_back(queue)


async def test_a_backlog_runs_after_a_restart_in_order(home: Home) -> None:
    async with home.queue() as queue:
        await note(queue, []).enqueue_many(calls())
    queue, ran = home.queue(), list[int]()
    note(queue, ran)
    async with queue:
        await queue.start_workers("default", 1)
        await all_ran(queue, ran)
        assert [*range(COUNT)] == ran
        await all_given_back(queue)


async def test_delayed_tasks_of_one_moment_all_run(home: Home, clock: SteppableClock) -> None:
    queue, ran = home.queue(clock=clock), list[int]()
    task = note(queue, ran)
    async with queue:
        await queue.start_workers("default", 2)
        await task.options(delay=60).enqueue_many(calls())
        assert held(queue) < COUNT // 4
        clock.advance(61, queue)
        await all_ran(queue, ran)
        assert {*range(COUNT)} == {*ran}
        await all_given_back(queue)


async def test_categories_and_priorities_share_what_there_is(home: Home) -> None:
    queue, ran = home.queue(), list[int]()
    task = note(queue, ran)
    async with queue:
        for at, category in enumerate(["a", "b", "c", "d"]):
            for priority in TaskPriority:
                chosen = task.options(category=category, priority=priority)
                await chosen.enqueue_many([(100 * at + number, LARGE) for number in range(10)])
        assert -6_000 < free(queue)  # the last one that fitted is larger than what was free
        for category in ("d", "c", "b", "a"):  # those whose lanes are full come last
            await queue.start_workers(category, 1)
        await all_ran(queue, ran, 160)
        await all_given_back(queue)


async def test_keyed_limits_hold_no_more_and_give_it_back_when_they_go(home: Home) -> None:
    queue, gate, ran = home.queue(), Gate(), list[int]()

    @queue.task(name="note")
    async def task(number: int, text: str) -> None:
        await gate.wait()
        ran.append(number)

    async with queue:
        await queue.set_limit("default", key="text", concurrency=1)
        await queue.start_workers("default", 3)
        await task.enqueue_many(calls())
        await gate.arrivals()
        assert held(queue) < COUNT // 4
        assert 0 < free(queue)
        await queue.remove_limit("default", key="text")
        await gate.arrivals(3)
        gate.open()
        await all_ran(queue, ran)
        await all_given_back(queue)


async def test_attempts_that_fail_come_back_and_are_not_too_much(home: Home) -> None:
    queue = home.queue()
    attempts: list[int] = []

    @queue.task(name="twice", max_retries=1, retry=RetryPolicy(wait=wait_fixed(0)))
    async def twice(number: int, text: str) -> None:
        attempts.append(number)
        if attempts.count(number) == 1:
            raise OSError(text)

    async with queue:
        handles = await twice.enqueue_many(calls(40))
        await queue.start_workers("default", 8)
        infos = await ended(queue, *(handle.id for handle in handles))
        assert {TaskStatus.SUCCESS} == {info.status for info in infos}
        assert 80 == len(attempts)
        await all_given_back(queue)


async def test_tasks_put_back_in_their_queue_by_hand_are_not_too_much(home: Home) -> None:
    async def work(number: int, text: str) -> None:
        if broken:
            raise OSError("no")

    queue, broken = home.queue(), True
    task = queue.task(name="work")(work)
    async with queue:
        handles = await task.enqueue_many(calls())
        await queue.start_workers("default", 4)
        await ended(queue, *(handle.id for handle in handles))
    queue, broken = home.queue(), False
    queue.task(name="work")(work)
    async with queue:
        for handle in handles:
            assert await queue.retry_task(handle.id)
        await queue.start_workers("default", 1)
        infos = await ended(queue, *(handle.id for handle in handles))
        assert {TaskStatus.SUCCESS} == {info.status for info in infos}
        await all_given_back(queue)


@pytest.mark.parametrize("restart", [False, True])
async def test_tasks_that_wait_for_another_are_held_in_part_and_all_run(
    home: Home, restart: bool
) -> None:
    def build() -> TaskQueue:
        queue = home.queue()
        note(queue, ran)
        queue.register_task("first")(lambda: None)
        return queue

    ran: list[int] = []
    queue = build()
    async with queue:
        parent = await queue.add_task("first")
        for number in range(COUNT):
            await queue.enqueue("note", (number, LARGE), depends_on=[parent])
        if not restart:
            assert 0 < free(queue)
            await queue.start_workers("default", 3)
            await until(queue.get_task_stats, succeeded(COUNT + 1))
            await all_given_back(queue)
    if restart:
        queue = build()
        async with queue:
            assert 0 < free(queue) < MEMORY
            await queue.start_workers("default", 3)
            await until(queue.get_task_stats, succeeded(COUNT + 1))
            await all_given_back(queue)
    assert {*range(COUNT)} == {*ran}


def succeeded(count: int) -> Callable[[dict[str, dict[str, int]]], bool]:
    return lambda stats: stats["by_status"] == {"success": count}


async def test_the_oldest_are_dropped_although_a_page_has_few(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "PAGE_BYTES", 12_000)
    queue = home.queue()
    task = note(queue, [])
    async with queue:
        low = await task.options(priority=TaskPriority.LOW).enqueue_many(calls(10))
        high = await task.options(priority=TaskPriority.HIGH).enqueue_many(calls(10))
        await queue.set_limit("default", backlog=20, on_full=OnFull.DROP_OLDEST)
        await task.enqueue_many(calls(12))
        states = [await handle.status() for handle in [*low, *high]]
    assert [TaskStatus.CANCELLED] * 12 + [TaskStatus.PENDING] * 8 == states


async def test_what_a_crash_left_running_is_recovered_page_by_page(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, gate = home.queue(), Gate()
    monkeypatch.setattr(recovery, "PAGE", 2)

    @queue.task(name="held")
    async def stay(number: int, text: str) -> None:
        await gate.wait(number)

    async with running(queue, default=5):
        handles = await stay.enqueue_many(calls(5))
        await gate.arrivals(5)
        image = await home.crash_image(queue)
        gate.open()
    async with image.queue() as other:
        assert {"pending": 5} == (await other.get_task_stats())["by_status"]
        for handle in handles:
            info = await other.get_task_info(handle.id)
            assert info is not None
            assert 1 == info.crashes


async def test_more_than_duckdb_may_hold_runs_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MEMORY_BYTES", 32 * 1024 * 1024)
    home = DuckDBHome(tmp_path / "q.duckdb")
    texts = [f"{number:08}" * 30_000 for number in range(300)]  # 72 MB
    lengths: list[int] = []

    def register(queue: TaskQueue) -> Task[[str], None]:
        @queue.task(name="length")
        async def length(text: str) -> None:
            lengths.append(len(text))

        return length

    async with home.queue() as queue:
        await register(queue).enqueue_many([(text,) for text in texts])
    queue = home.queue(settings=Settings(memory_limit="50MB"))
    register(queue)
    async with queue:
        await queue.start_workers("default", 2)
        await until(queue.get_task_stats, succeeded(300))
        listed = await queue.get_tasks(limit=10_000)
        assert [(text,) for text in reversed(texts)] == [info.args for info in listed]
    assert [240_000] * 300 == lengths
