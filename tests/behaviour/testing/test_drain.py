"""drain() runs all that is due, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tenacity import wait_fixed

from support.queues import PATIENCE, Gate
from wopr import (
    InvalidCallError,
    ResultOf,
    Settings,
    StorageOwnedError,
    TaskQueue,
    TaskStatus,
    chain,
)
from wopr.queue.queue import inside
from wopr.testing import FakeClock, drain

SUCCESS, FAILED = TaskStatus.SUCCESS, TaskStatus.FAILED
PENDING, RETRY = TaskStatus.PENDING, TaskStatus.RETRY


async def test_it_runs_what_is_due_in_order_and_what_that_enqueues(queue: TaskQueue) -> None:
    @queue.task(category="a")
    async def parent(n: int) -> None:
        await child.enqueue(n)

    @queue.task(category="b")
    def child(n: int) -> int:
        return n

    first = await parent.enqueue(1)
    await parent.enqueue(2)
    assert [] == await queue.get_tasks(status="success")
    infos = await drain(queue)
    assert {SUCCESS} == {info.status for info in infos}
    assert [(1,), (2,)] == [info.args for info in infos if info.name == "child"]
    assert (first.id, 4) == (infos[0].id, len(infos))
    assert [] == await drain(queue)


async def test_nothing_runs_before_or_after(queue: TaskQueue) -> None:
    @queue.task
    async def note() -> None: ...

    await note.enqueue()
    await drain(queue)
    handle = await note.enqueue()
    assert "no workers" == (await queue.explain(handle.id)).reason
    assert {} == queue.workers
    [info] = await drain(queue)
    assert handle.id == info.id


async def test_only_the_category_that_was_asked_for_runs(queue: TaskQueue) -> None:
    queue.register_task("here", "a")(lambda: None)
    queue.register_task("there", "b")(lambda: None)
    await queue.add_task("there")
    await queue.add_task("here")
    assert ["here"] == [info.name for info in await drain(queue, "a")]
    assert ["there"] == [info.name for info in await drain(queue)]


async def test_a_category_of_a_call_is_found(queue: TaskQueue) -> None:
    @queue.task
    async def outer() -> None:
        await inner.options(category="seldom").enqueue()

    @queue.task
    async def inner() -> None: ...

    await outer.enqueue()
    assert ["outer", "inner"] == [info.name for info in await drain(queue)]


async def test_delays_and_retries_wait_for_the_clock(queue: TaskQueue, clock: FakeClock) -> None:
    tries: list[int] = []

    @queue.task(max_retries=2, retry=wait_fixed(60))
    async def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError
        return len(tries)

    handle = await flaky.options(delay=10).enqueue()
    assert [] == await drain(queue)
    clock.advance(10)
    [info] = await drain(queue)
    assert (RETRY, 1) == (info.status, info.attempt)
    assert [] == await drain(queue)
    clock.advance(59.9)
    assert [] == await drain(queue)
    clock.advance(0.1)
    await drain(queue)
    clock.advance(60)
    [info] = await drain(queue)
    assert (handle.id, SUCCESS, 3) == (info.id, info.status, info.result)


async def test_retries_without_a_pause_run_in_one_go(queue: TaskQueue) -> None:
    @queue.task(max_retries=4, retry=wait_fixed(0))
    async def hopeless() -> None:
        raise ConnectionError

    await hopeless.enqueue()
    [info] = await drain(queue)
    assert (FAILED, 5) == (info.status, info.attempt)


async def test_schedules_fire_when_the_clock_says_so(tmp_path: Path, clock: FakeClock) -> None:
    from wopr.testing import isolated

    app = TaskQueue()

    @app.schedule(every=3_600)
    @app.task
    async def hourly() -> None: ...

    async with isolated(app, database=tmp_path / "t.duckdb", clock=clock) as queue:
        assert [] == await drain(queue)
        clock.advance(3_600)
        [info] = await drain(queue)
        assert ("hourly", SUCCESS) == (info.name, info.status)
        assert [] == await drain(queue)
        clock.advance(3_600)
        assert 1 == len(await drain(queue))


async def test_flows_and_dependents_run_to_their_end(queue: TaskQueue) -> None:
    @queue.task(category="a")
    async def number(n: int) -> int:
        return n

    @queue.task(category="b")
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    @queue.task(category="c")
    async def fails() -> int:
        raise ValueError

    flow = await queue.enqueue_flow(chain(number.map([1, 2, 3]), total.s()))
    lost = await queue.enqueue(number, (ResultOf(await fails.enqueue()),))
    infos = await drain(queue)
    assert 6 == await flow.result(timeout=PATIENCE)
    assert TaskStatus.CANCELLED == await lost.status()
    assert {"number", "total", "fails"} == {info.name for info in infos}


async def test_a_dependent_that_is_not_due_is_no_reason_to_wait(
    queue: TaskQueue, clock: FakeClock
) -> None:
    @queue.task
    async def number(n: int) -> int:
        return n

    parent = await number.enqueue(1)
    child = await number.options(delay=60, depends_on=[parent]).enqueue(2)
    assert [parent.id] == [info.id for info in await drain(queue)]
    clock.advance(60)
    assert [child.id] == [info.id for info in await drain(queue)]


async def test_what_is_held_back_by_hand_or_by_a_rate_stays(
    queue: TaskQueue, clock: FakeClock
) -> None:
    @queue.task(category="a")
    async def one() -> None: ...

    @queue.task(category="b")
    async def two() -> None: ...

    await queue.set_limit("a", rate=(2, 60.0))
    await queue.pause(category="b")
    for _ in range(3):
        await one.enqueue()
        await two.enqueue()
    assert ["one", "one"] == [info.name for info in await drain(queue)]
    clock.advance(60)
    await queue.resume(category="b")
    assert ["one", "two", "two", "two"] == sorted(info.name for info in await drain(queue))


async def test_a_limit_of_one_at_a_time_holds_and_all_run(queue: TaskQueue) -> None:
    running = [0, 0]

    @queue.task(category="a")
    async def one() -> None:
        running[0] += 1
        running[1] = max(running)
        await asyncio.sleep(0)
        running[0] -= 1

    await queue.set_limit("a", concurrency=1)
    await one.enqueue_many([()] * 5)
    assert 5 == len(await drain(queue, concurrency=3))
    assert [0, 1] == running


async def test_tasks_that_were_cleaned_up_meanwhile_are_left_out(queue: TaskQueue) -> None:
    @queue.task
    async def note() -> None: ...

    @queue.task
    async def clean() -> int:
        return await queue.cleanup_old_tasks(days=0)

    await note.enqueue()
    handle = await clean.enqueue()
    [info] = await drain(queue)
    assert (handle.id, 1) == (info.id, info.result)


async def test_unregistered_tasks_stay(queue: TaskQueue, tmp_path: Path) -> None:
    gone = queue.task(name="gone")(lambda: None)
    await gone.enqueue()
    del inside(queue).registry.definitions["gone"]
    assert [] == await drain(queue)


async def test_tasks_that_wait_for_each_other_need_more_than_one(queue: TaskQueue) -> None:
    @queue.task
    async def outer() -> int:
        return await (await inner.enqueue()).result(timeout=PATIENCE)

    @queue.task
    async def inner() -> int:
        return 3

    handle = await outer.enqueue()
    with pytest.raises(
        AssertionError, match=r"did not come to an end in 0\.2 s\. It waits for: .*outer"
    ):
        await drain(queue, timeout=0.2)
    await drain(queue, concurrency=2)
    assert 3 == await handle.result(timeout=PATIENCE)


async def test_a_task_that_enqueues_itself_for_ever_is_stopped(queue: TaskQueue) -> None:
    @queue.task
    async def again() -> None:
        await again.enqueue()

    await again.enqueue()
    with pytest.raises(
        AssertionError, match=r"More than 20 attempts began and tasks are still due"
    ):
        await drain(queue, limit=20)


async def test_workers_of_the_application_are_waited_for(queue: TaskQueue) -> None:
    gate = Gate()
    queue.register_task("wait", "a")(gate.wait)
    await queue.start_workers("a", 1)
    await queue.add_task("wait", who=1)
    await gate.arrivals(1)
    draining = asyncio.ensure_future(drain(queue))
    await queue.add_task("wait", who=2)
    gate.open()
    await draining
    assert ["success", "success"] == [info.status.value for info in await queue.get_tasks()]
    assert 1 == len(queue.workers["a"])


async def test_more_tasks_than_memory_holds_run(tmp_path: Path) -> None:
    queue = TaskQueue(True, database=tmp_path / "t.duckdb", settings=Settings(window=10))

    @queue.task
    async def note(n: int) -> int:
        return n

    async with queue:
        await note.enqueue_many([(n,) for n in range(200)])
        infos = await drain(queue)
    assert list(range(200)) == [info.result for info in infos]


async def test_a_queue_that_is_off_or_elsewhere_says_so(tmp_path: Path, queue: TaskQueue) -> None:
    with pytest.raises(InvalidCallError, match="switched off"):
        await drain(TaskQueue(False))
    client = TaskQueue(True, database=queue.database)
    async with client:
        with pytest.raises(StorageOwnedError, match="Give the test a file of its own"):
            await drain(client)


@pytest.mark.parametrize(
    "options", [{"limit": 0}, {"concurrency": 0}, {"category": ""}, {"concurrency": 1_001}]
)
async def test_values_that_can_not_be_are_refused(
    queue: TaskQueue, options: dict[str, object]
) -> None:
    with pytest.raises(InvalidCallError):
        await drain(queue, **options)  # type: ignore[arg-type]


async def test_resources_are_there(queue: TaskQueue) -> None:
    class Client: ...

    @queue.resource(provides=Client)
    async def client() -> AsyncIterator[Client]:
        yield Client()

    async def use(client: object) -> str:
        return type(client).__name__

    use.__annotations__["client"] = Client
    queue.register_task("use")(use)
    await queue.add_task("use")
    [info] = await drain(queue)
    assert "Client" == info.result
