"""Tasks that are not due yet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from support.queues import NOON, PATIENCE, Gate, Home, SteppableClock, ended, running
from wopr import InvalidCallError, Settings, TaskQueue, TaskStatus


def recorder(queue: TaskQueue) -> list[int]:
    """Register a task that notes its number when it starts."""
    started: list[int] = []

    @queue.register_task("note", "c")
    async def note(n: int) -> None:
        started.append(n)

    return started


@pytest.mark.parametrize(
    "options",
    [
        {"delay": 10},
        {"delay": 10.0},
        {"delay": timedelta(seconds=10)},
        {"run_at": NOON + timedelta(seconds=10)},
        {"run_at": (NOON + timedelta(seconds=10)).astimezone(ZoneInfo("Asia/Kathmandu"))},
    ],
    ids=["int", "float", "timedelta", "utc", "elsewhere"],
)
async def test_a_delayed_task_does_not_start_before_it_is_due(
    home: Home, clock: SteppableClock, options: dict[str, object]
) -> None:
    queue = home.queue(clock=clock)
    started = recorder(queue)
    async with running(queue, c=1):
        handle = await queue.enqueue("note", (1,), **options)
        clock.advance(9.999, queue)
        await (await queue.enqueue("note", (2,))).result(timeout=PATIENCE)
        info = await handle.info()
        assert (TaskStatus.PENDING, NOON + timedelta(seconds=10)) == (info.status, info.run_at)
        assert "delayed" == (await queue.explain(handle.id)).reason
        assert [2] == started
        clock.advance(0.001, queue)
        await handle.result(timeout=PATIENCE)
    assert [2, 1] == started


async def test_a_delay_survives_a_restart(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    recorder(queue)
    async with running(queue):
        handle = await queue.enqueue("note", (1,), delay=timedelta(days=30))

    clock.advance(29 * 86_400)
    queue = home.queue(clock=clock)
    started = recorder(queue)
    async with running(queue, c=1):
        handle = queue.handle(handle.id)
        await queue.handle(await queue.add_task("note", n=2)).result(timeout=PATIENCE)
        assert [2] == started
        clock.advance(86_400, queue)
        await handle.result(timeout=PATIENCE)
    assert [2, 1] == started


async def test_what_became_due_while_nobody_was_there_starts_at_once(
    home: Home, clock: SteppableClock
) -> None:
    queue = home.queue(clock=clock)
    recorder(queue)
    async with running(queue):
        first = await queue.enqueue("note", (1,), run_at=NOON - timedelta(days=1))
        second = await queue.enqueue("note", (2,), delay=60)
    clock.advance(3_600)
    queue = home.queue(clock=clock)
    started = recorder(queue)
    async with running(queue, c=1):
        await ended(queue, first.id, second.id)
    assert [1, 2] == started


async def test_delayed_tasks_that_are_due_keep_the_order_of_enqueueing(
    home: Home, clock: SteppableClock
) -> None:
    queue = home.queue(clock=clock)
    started = recorder(queue)
    async with running(queue):
        delays = [9, 3, None, 6, None]
        handles = [await queue.enqueue("note", (n,), delay=d) for n, d in enumerate(delays)]
        clock.advance(10, queue)
        await queue.start_workers("c")
        await ended(queue, *(handle.id for handle in handles))
    assert [0, 1, 2, 3, 4] == started


async def test_a_delayed_task_can_be_cancelled(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    started = recorder(queue)
    async with running(queue, c=1):
        handle = await queue.enqueue("note", (1,), delay=5)
        assert True is await handle.cancel()
        clock.advance(60, queue)
        await queue.handle(await queue.add_task("note", n=2)).result(timeout=PATIENCE)
    assert [2] == started


async def test_many_tasks_due_at_the_same_moment_all_run(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock, settings=Settings(window=10))
    started = recorder(queue)
    async with running(queue):
        moment = NOON + timedelta(hours=1)
        ids = [(await queue.enqueue("note", (n,), run_at=moment)).id for n in range(45)]
    queue = home.queue(clock=clock, settings=Settings(window=10))
    started = recorder(queue)
    async with running(queue, c=1):
        await queue.handle(await queue.add_task("note", n=99)).result(timeout=PATIENCE)
        clock.advance(3_600, queue)
        await ended(queue, *ids)
    assert [99, *range(45)] == started


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"delay": 1, "run_at": NOON}, "not both"),
        ({"run_at": datetime(2030, 1, 1)}, "has no time zone"),
        ({"delay": -1}, "from 0 to"),
        ({"run_at": 5}, "run_at must be a datetime"),
    ],
)
async def test_a_due_time_that_means_nothing_is_refused(
    home: Home, options: dict[str, object], says: str
) -> None:
    queue = home.queue()
    recorder(queue)
    async with running(queue):
        with pytest.raises(InvalidCallError, match=says):
            await queue.enqueue("note", (1,), **options)
        assert 0 == (await queue.get_task_stats())["total"]


async def test_times_are_aware_and_in_utc(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    recorder(queue)
    async with running(queue, c=1):
        handle = await queue.enqueue("note", (1,), delay=1)
        clock.advance(1, queue)
        [info] = await ended(queue, handle.id)
    times = [info.created_at, info.run_at, info.started_at, info.completed_at]
    assert [UTC] * 4 == [moment.tzinfo for moment in times if moment is not None]


@pytest.mark.parametrize("spread", [0, 1], ids=["same moment", "one by one"])
async def test_memory_stays_bounded_when_very_many_tasks_become_due(
    home: Home, clock: SteppableClock, spread: int
) -> None:
    queue = home.queue(clock=clock, settings=Settings(window=10))
    started = recorder(queue)
    gate = Gate()
    queue.register_task("hold", "c")(gate.wait)
    async with running(queue):
        ids = [
            (await queue.enqueue("note", (n,), run_at=NOON + timedelta(seconds=60 + n * spread))).id
            for n in range(200)
        ]
        await queue.start_workers("c")
        await queue.add_task("hold")
        await gate.arrivals()
        most = 0
        for _ in range(100):
            clock.advance(3, queue)
            await queue.get_task_stats()
            most = max(most, queue.queues["c"].qsize())
        gate.open()
        await ended(queue, *ids)
    assert list(range(200)) == started
    assert most <= 4 * 10
