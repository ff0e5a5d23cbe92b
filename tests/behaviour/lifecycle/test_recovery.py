"""What a crash leaves, and what a restart makes of it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from support.queues import (
    PATIENCE,
    DuckDBHome,
    Gate,
    Home,
    SteppableClock,
    ended,
    running,
    until_status,
)
from wopr import Settings, TaskQueue, TaskStatus

PENDING, STARTED, RETRY = TaskStatus.PENDING, TaskStatus.STARTED, TaskStatus.RETRY
SUCCESS, FAILED = TaskStatus.SUCCESS, TaskStatus.FAILED


def note(queue: TaskQueue, category: str = "c") -> list[int]:
    """Register a task that notes its number."""
    started: list[int] = []

    @queue.register_task("note", category)
    async def note(n: int) -> int:
        started.append(n)
        return n

    return started


async def crashed(home: Home, clock: SteppableClock | None = None) -> tuple[Home, dict[str, str]]:
    """Leave a queue with one waiting, one running, one retrying and one ended task in a crash."""
    options = {} if clock is None else {"clock": clock}
    queue = home.queue(**options)
    gate = Gate()

    @queue.register_task("note", "c")
    async def work(n: int) -> None:
        if n == 2:
            await gate.wait()
        if n == 3:
            raise OSError("try again")

    ids = {}
    async with running(queue, c=1):
        ids["ended"] = await queue.add_task("note", n=4)
        ids["retrying"] = await queue.add_task("note", max_retries=1, n=3)
        await until_status(queue, ids["retrying"], RETRY)
        ids["running"] = await queue.add_task("note", n=2)
        await gate.arrivals()
        ids["waiting"] = await queue.add_task("note", n=1)
        image = await home.crash_image(queue)
        gate.open()
    return image, ids


async def test_after_a_crash_everything_goes_on(home: Home, clock: SteppableClock) -> None:
    image, ids = await crashed(home, clock)
    queue = image.queue(clock=clock)
    started = note(queue)
    async with running(queue):
        before = {key: await queue.get_task_info(task_id) for key, task_id in ids.items()}
        assert {"ended": SUCCESS, "retrying": RETRY, "running": PENDING, "waiting": PENDING} == {
            key: info.status for key, info in before.items() if info is not None
        }
        await queue.start_workers("c")
        await ended(queue, ids["running"], ids["waiting"])
        clock.advance(2, queue)
        infos = await ended(queue, *ids.values())
    assert [2, 1, 3] == started
    assert {SUCCESS} == {info.status for info in infos}
    recovered = infos[list(ids).index("running")]
    assert (2, 1, 0) == (recovered.attempt, recovered.crashes, recovered.retry_count)


async def test_recovering_again_runs_nothing_twice(home: Home) -> None:
    image, ids = await crashed(home)
    queue = image.queue()
    gate = Gate()
    started: list[int] = []

    @queue.register_task("note", "c")
    async def work(n: int) -> None:
        started.append(n)
        await gate.wait()

    async with running(queue, c=1):
        await gate.arrivals()
        assert 0 == await queue.recover_tasks()
        await queue.start_workers("c", 2)
        assert 0 == await queue.recover_tasks("c")
        await gate.arrivals(2)
        gate.open()
        await ended(queue, ids["running"], ids["waiting"])
    assert [2, 1] == started


async def test_recovery_is_in_the_history(durable_home: DuckDBHome) -> None:
    image, ids = await crashed(durable_home)
    async with running(image.queue()) as queue:
        history = await queue.get_history(ids["running"])
    assert ["add", "claim", "worker lost"] == [step.reason for step in history]
    assert [None, PENDING, STARTED] == [step.from_status for step in history]


async def test_a_crash_loop_ends(home: Home) -> None:
    image: Home = home
    task_id = None
    for number in range(3):
        queue = image.queue(settings=Settings(max_crashes=3))
        gate = Gate()
        queue.register_task("killer", "c")(gate.wait)
        async with running(queue, c=1):
            task_id = task_id or await queue.add_task("killer", max_retries=50)
            await gate.arrivals()
            info = await queue.get_task_info(task_id)
            assert info is not None
            assert (STARTED, number, number + 1) == (info.status, info.crashes, info.attempt)
            image = await image.crash_image(queue)
    assert task_id is not None
    queue = image.queue(settings=Settings(max_crashes=3))
    queue.register_task("killer", "c")(lambda: "cured")
    async with running(queue):
        info = await queue.get_task_info(task_id)
        assert info is not None
        assert (FAILED, 3, "CrashLoop") == (info.status, info.crashes, info.error_type)
        assert info.error is not None
        assert "The process died 3 times while this task ran (max_crashes=3)" in info.error
        assert True is await queue.retry_task(task_id)
        await queue.start_workers("c")
        [cured] = await ended(queue, task_id)
    assert ("cured", 0, None) == (cured.result, cured.crashes, cured.error)


async def test_a_task_without_its_function_waits_and_says_so(home: Home) -> None:
    queue = home.queue()
    note(queue)
    async with running(queue):
        task_id = await queue.add_task("note", n=7)
    queue = home.queue()
    queue.register_task("other", "c")(lambda: "ran")
    async with running(queue, c=1):
        other = await queue.add_task("other")
        assert "ran" == await queue.handle(other).result(timeout=PATIENCE)
        why = await queue.explain(task_id)
        info = await queue.get_task_info(task_id)
        assert info is not None
        assert (PENDING, 0, {"n": 7}) == (info.status, info.attempt, info.kwargs)
        assert "unregistered" == why.reason
        assert "No function is registered under the name 'note'" in str(why)
        started = note(queue)
        [done] = await ended(queue, task_id)
    assert ([7], 7) == (started, done.result)


async def test_many_tasks_without_their_function_do_not_hold_others_up(home: Home) -> None:
    queue = home.queue(settings=Settings(window=10))
    note(queue)
    async with running(queue):
        ids = [await queue.add_task("note", n=n) for n in range(60)]
    queue = home.queue(settings=Settings(window=10))
    queue.register_task("other", "c")(lambda n: n)
    async with running(queue):
        others = [await queue.add_task("other", n=n) for n in range(30)]
        await queue.start_workers("c", 2)
        infos = await ended(queue, *others)
        assert {SUCCESS} == {info.status for info in infos}
        started = note(queue)
        await ended(queue, *ids)
    assert list(range(60)) == sorted(started)


async def test_tasks_without_their_function_fail_nothing_and_burn_nothing(
    home: Home, clock: SteppableClock
) -> None:
    image, ids = await crashed(home, clock)
    async with running(image.queue(clock=clock), c=2) as queue:
        clock.advance(60, queue)
        stats = await queue.get_task_stats()
        reasons = {key: (await queue.explain(task_id)).reason for key, task_id in ids.items()}
    assert {"pending": 2, "retry": 1, "success": 1} == stats["by_status"]
    assert {
        "ended": "ended",
        "retrying": "unregistered",
        "running": "unregistered",
        "waiting": "unregistered",
    } == reasons


# -- shutdown --------------------------------------------------------------------


async def test_shutdown_lets_running_tasks_finish(home: Home) -> None:
    queue = home.queue()
    gate = Gate()
    started, release = threading.Event(), threading.Event()
    queue.register_task("wait", "c")(gate.wait)

    @queue.register_task("block", "c")
    def block() -> str:
        started.set()
        release.wait(PATIENCE)
        return "end"

    await queue.start_workers("c", 2)
    first = await queue.add_task("wait", who="end")
    second = await queue.add_task("block")
    third = await queue.add_task("wait")
    await gate.arrivals()
    assert await asyncio.to_thread(started.wait, PATIENCE)
    stopping = asyncio.create_task(queue.shutdown())
    await asyncio.sleep(0)
    assert not stopping.done()
    gate.open()
    release.set()
    await stopping
    async with running(home.queue()) as later:
        infos = [await later.get_task_info(task_id) for task_id in (first, second, third)]
    assert [(SUCCESS, "end"), (SUCCESS, "end"), (PENDING, None)] == [
        (info.status, info.result) for info in infos if info is not None
    ]
    assert ["end"] == gate.arrived


@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_what_outlives_the_grace_time_goes_back_at_no_cost(home: Home, kind: str) -> None:
    queue = home.queue()
    gate = Gate()
    started, release = threading.Event(), threading.Event()

    async def wait() -> None:
        started.set()
        await gate.wait()

    def block() -> None:
        started.set()
        release.wait(PATIENCE)

    queue.register_task("long", "c")(wait if kind == "coroutine" else block)
    await queue.start_workers("c")
    task_id = await queue.add_task("long", max_retries=1)
    assert await asyncio.to_thread(started.wait, PATIENCE)
    await queue.shutdown(timeout=0)
    release.set()

    queue = home.queue()
    queue.register_task("long", "c")(lambda: "second time")
    async with running(queue):
        info = await queue.get_task_info(task_id)
        assert info is not None
        assert (PENDING, 0, 0, 1, None) == (
            info.status,
            info.retry_count,
            info.crashes,
            info.attempt,
            info.error,
        )
        await queue.start_workers("c")
        assert "second time" == await queue.handle(task_id).result(timeout=PATIENCE)


async def test_shutdown_may_be_called_any_number_of_times(home: Home) -> None:
    queue = home.queue()
    await queue.shutdown()
    await queue.shutdown()
    note(queue)
    await queue.start_workers("c")
    task_id = await queue.add_task("note", n=1)
    await ended(queue, task_id)
    await asyncio.gather(queue.shutdown(), queue.shutdown(), queue.shutdown())
    await queue.shutdown()
    assert ({}, {}) == (queue.workers, queue.running_tasks)


async def test_a_queue_works_again_after_shutdown(home: Home) -> None:
    queue = home.queue()
    started = note(queue)
    for n in range(3):
        async with queue:
            await queue.start_workers("c")
            task_id = await queue.add_task("note", n=n)
            assert n == await queue.handle(task_id).result(timeout=PATIENCE)
    assert [0, 1, 2] == started


async def test_worker_names_are_never_used_again(home: Home) -> None:
    queue = home.queue()
    names: list[str] = []
    for _ in range(2):
        async with queue:
            await queue.start_workers("c", 2)
            await queue.start_workers("c", 1)
            names += [worker.name for worker in queue.workers["c"]]
    assert 6 == len(names) == len(set(names))


async def test_waiting_for_a_task_ends_with_the_queue(home: Home) -> None:
    queue = home.queue()
    note(queue)
    async with queue:
        task_id = await queue.add_task("note", n=1)
        waiting = asyncio.create_task(queue.wait(task_id))
        await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="shut down while this call waited"):
        await waiting
