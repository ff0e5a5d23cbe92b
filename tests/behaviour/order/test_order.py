"""Which task starts first."""

from __future__ import annotations

import random

from support.queues import Home, SteppableClock, ended, running, until
from wopr import Settings, TaskPriority, TaskQueue

LEVELS = {"L": TaskPriority.LOW, "N": TaskPriority.NORMAL, "H": TaskPriority.HIGH}


def recorder(queue: TaskQueue, name: str = "note") -> list[int]:
    """Register a task that notes its number when it starts."""
    started: list[int] = []

    @queue.register_task(name, "c")
    async def note(n: int) -> None:
        started.append(n)

    return started


async def test_equal_tasks_start_in_the_order_of_enqueueing(home: Home) -> None:
    queue = home.queue()
    started = recorder(queue)
    async with running(queue):
        ids = [await queue.add_task("note", n=n) for n in range(30)]
        await queue.start_workers("c")
        await ended(queue, *ids)
    assert list(range(30)) == started


async def test_equal_to_the_microsecond_changes_nothing(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    started = recorder(queue)
    async with running(queue):
        ids = [await queue.add_task("note", n=n) for n in range(12)]
        await queue.start_workers("c")
        await ended(queue, *ids)
    assert list(range(12)) == started


async def test_a_higher_priority_starts_first(home: Home) -> None:
    queue = home.queue()
    started = recorder(queue)
    async with running(queue):
        ids = [
            await queue.add_task("note", "c", priority, n=n)
            for n, priority in enumerate(
                [
                    TaskPriority.LOW,
                    TaskPriority.NORMAL,
                    TaskPriority.CRITICAL,
                    TaskPriority.HIGH,
                    TaskPriority.LOW,
                    TaskPriority.CRITICAL,
                ]
            )
        ]
        await queue.start_workers("c")
        await ended(queue, *ids)
    assert [2, 5, 3, 1, 0, 4] == started


async def test_the_order_survives_a_restart(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    recorder(queue)
    async with running(queue):
        for n, level in enumerate("NLHNLH"):
            await queue.add_task("note", "c", LEVELS[level], n=n)

    clock.advance(-3_600)  # the system clock was set back meanwhile
    queue = home.queue(clock=clock)
    started = recorder(queue)
    async with running(queue):
        ids = [info.id for info in await queue.get_tasks()]
        ids += [await queue.add_task("note", n=6), await queue.add_task("note", n=7)]
        await queue.start_workers("c")
        await ended(queue, *ids)
    assert [2, 5, 0, 3, 6, 7, 1, 4] == started


async def test_categories_do_not_wait_for_each_other(home: Home) -> None:
    queue = home.queue()
    started = recorder(queue)
    async with running(queue):
        await queue.add_task("note", "busy", TaskPriority.CRITICAL, n=1)
        other = await queue.add_task("note", "c", TaskPriority.LOW, n=2)
        await queue.start_workers("c")
        await ended(queue, other)
    assert [2] == started


async def test_each_worker_runs_one_task_at_a_time(home: Home) -> None:
    queue = home.queue()
    now = most = 0

    @queue.register_task("count", "c")
    async def count() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        import asyncio

        for _ in range(5):
            await asyncio.sleep(0)
        now -= 1

    async with running(queue):
        ids = [await queue.add_task("count") for _ in range(30)]
        await queue.start_workers("c", 2)
        await queue.start_workers("c", 1)  # adds to the two
        await ended(queue, *ids)
        names = [worker.name for worker in queue.workers["c"]]
    assert 3 == most
    assert 3 == len(set(names))


async def test_more_tasks_than_memory_holds_keep_their_order(home: Home) -> None:
    queue = home.queue(settings=Settings(window=10))
    started = recorder(queue)
    rng = random.Random(5)
    levels = [rng.choice(list(TaskPriority)) for _ in range(200)]
    expected = sorted(range(200), key=lambda n: (-levels[n], n))
    async with running(queue):
        ids = [await queue.add_task("note", "c", level, n=n) for n, level in enumerate(levels)]
        await queue.start_workers("c")
        await ended(queue, *ids)
    assert expected == started


async def test_more_tasks_than_memory_holds_survive_a_restart(home: Home) -> None:
    started: list[int] = []
    levels = [list(TaskPriority)[n % 4] for n in range(150)]
    expected = sorted(range(150), key=lambda n: (-levels[n], n))
    queue = home.queue(settings=Settings(window=10))
    recorder(queue)
    async with running(queue):
        ids = [await queue.add_task("note", "c", level, n=n) for n, level in enumerate(levels)]
    queue = home.queue(settings=Settings(window=10))
    first = recorder(queue)
    async with running(queue):
        await queue.start_workers("c")
        await ended(queue, ids[expected[40]])
    queue = home.queue(settings=Settings(window=10))
    second = recorder(queue)
    async with running(queue):
        await queue.start_workers("c")
        await ended(queue, *ids)
    started = first + second
    assert expected == started


async def test_nothing_is_lost_or_run_twice_when_memory_is_small(
    home: Home, clock: SteppableClock
) -> None:
    queue = home.queue(settings=Settings(window=10), clock=clock)
    rng = random.Random(11)
    runs: dict[int, int] = dict.fromkeys(range(240), 0)

    @queue.task(name="work", category="c", max_retries=1)
    async def work(n: int) -> None:
        runs[n] += 1
        if n % 7 == 0 and runs[n] == 1:
            raise OSError("once")

    async with running(queue, c=3):
        ids = []
        for n in range(240):
            delay = rng.choice([None, None, 5, 40])
            task = work.options(priority=rng.choice(list(TaskPriority)), delay=delay)
            ids.append((await task.enqueue(n)).id)

        async def pass_time() -> dict[str, int]:
            clock.advance(2, queue)
            stats = await queue.get_task_stats()
            return {"left": stats["queued"] + stats["by_status"].get("started", 0)}

        await until(pass_time, lambda seen: seen["left"] == 0)
        infos = await ended(queue, *ids)
    assert {"success"} == {info.status.value for info in infos}
    assert {n: 2 if n % 7 == 0 else 1 for n in range(240)} == runs


async def test_a_late_critical_task_overtakes_a_full_memory(home: Home) -> None:
    queue = home.queue(settings=Settings(window=10))
    started = recorder(queue)
    async with running(queue):
        ids = [await queue.add_task("note", n=n) for n in range(60)]
        ids.append(await queue.add_task("note", "c", TaskPriority.CRITICAL, n=99))
        await queue.start_workers("c")
        await ended(queue, *ids)
    assert [99, *range(60)] == started
