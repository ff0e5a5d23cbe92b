"""What holds when several hosts work on one queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from support.queues import PATIENCE, Gate, PostgresHome, until, until_status
from wopr import TaskQueue, TaskStatus
from wopr.fleet.fleet import Fleet
from wopr.queue.queue import inside
from wopr.storage.postgres import statements


@contextlib.asynccontextmanager
async def hosts(*queues: TaskQueue) -> AsyncIterator[None]:
    """Open some queues at once, and shut all of them down."""
    async with contextlib.AsyncExitStack() as stack:
        for queue in queues:
            await stack.enter_async_context(queue)
        try:
            yield
        finally:
            await asyncio.gather(*(queue.shutdown(timeout=0) for queue in queues))


async def test_each_task_runs_once_wherever_there_is_a_free_worker(shared: PostgresHome) -> None:
    ran: Counter[int] = Counter()
    queues = [shared.queue() for _ in range(3)]

    async def count(number: int) -> None:
        ran[number] += 1

    [task, *_] = [queue.task(name="count")(count) for queue in queues]
    async with hosts(*queues):
        ids = await task.enqueue_many([(number,) for number in range(60)])
        await asyncio.gather(*(queue.start_workers("default", 4) for queue in queues))
        for one in ids:
            await queues[1].wait(one.id, timeout=PATIENCE)
    assert dict.fromkeys(range(60), 1) == ran


async def test_a_result_is_awaited_and_a_task_cancelled_from_another_host(
    shared: PostgresHome,
) -> None:
    gate = Gate()
    worker, client = shared.queue(), shared.queue()

    @worker.task(name="hold")
    async def hold(number: int) -> int:
        await gate.wait(number)
        return number

    client.task(name="hold")(hold)
    async with hosts(worker, client):
        await worker.start_workers("default", 2)
        first, second = [await client.enqueue("hold", (number,)) for number in (1, 2)]
        await gate.arrivals(2)
        assert await second.cancel()
        await until(_nothing_runs(worker, second.id), lambda gone: gone)
        gate.open()
        assert 1 == await first.result(timeout=PATIENCE)
        assert TaskStatus.CANCELLED is (await second.info()).status
        stopped = [one for one in await client.worker_info() if one.task_id is not None]
    assert [] == stopped


def _nothing_runs(queue: TaskQueue, task_id: str):  # type: ignore[no-untyped-def]
    async def look() -> bool:
        await asyncio.sleep(0.01)
        return task_id not in queue.running_tasks

    return look


async def test_a_limit_is_exact_across_hosts(shared: PostgresHome) -> None:
    gate, now, most = Gate(), 0, 0
    queues = [shared.queue() for _ in range(2)]

    async def work(number: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await gate.wait(number)
        now -= 1

    [task, _] = [queue.task(name="work")(work) for queue in queues]
    async with hosts(*queues):
        await queues[0].set_limit("default", concurrency=3)
        ids = await task.enqueue_many([(number,) for number in range(12)])
        await asyncio.gather(*(queue.start_workers("default", 6) for queue in queues))
        await gate.arrivals(3)
        gate.open()
        for one in ids:
            await queues[0].wait(one.id, timeout=PATIENCE)
    assert 3 == most


async def test_a_key_counts_on_hosts_without_the_function(shared: PostgresHome) -> None:
    one, other = shared.queue(), shared.queue()
    gate, begun = Gate(), []

    @one.task(name="fetch")
    async def fetch(user: int) -> None:
        await gate.wait(user)

    @other.task(name="push")
    async def push(text: str, user: int) -> None:
        begun.append(user)

    async with hosts(one, other):
        await one.set_limit("default", key="user", concurrency=1)
        fetched = await fetch.enqueue(1)
        await one.start_workers("default", 1)
        await gate.arrivals(1)
        held, free = await push.enqueue("a", 1), await push.enqueue("b", 2)
        await other.start_workers("default", 2)
        await other.wait(free.id, timeout=PATIENCE)
        assert "user = 1" in (await other.explain(held.id)).text

        async def forget(connection: Any) -> None:  # as it was claimed before there was a limit
            async with connection.transaction():
                # A look that is under way has counted already: it ends first.
                await connection.execute(statements.MEASURED, {"what": "default"})
                await connection.execute("update wopr.tasks set keys = null")

        await one.storage.connections.run(forget)
        unknown = await push.enqueue("c", 3)
        assert "user = 3" in (await other.explain(unknown.id)).text
        assert [2] == begun
        gate.open()
        for task in (fetched, held, unknown):
            await other.wait(task.id, timeout=PATIENCE)
    assert [1, 2, 3] == sorted(begun)


async def test_a_schedule_fires_once_per_planned_time_on_all_hosts(shared: PostgresHome) -> None:
    queues = [shared.queue() for _ in range(3)]
    for queue in queues:

        @queue.schedule(every={"seconds": 0.2}, name="tick")
        @queue.task(name="tick")
        async def tick() -> None:
            """Do nothing."""

    async with hosts(*queues):
        for queue in queues:
            await queue.start_workers("default", 1)
            await queue.start_scheduler(0.05)

        async def runs() -> list[tuple[object, int]]:
            await asyncio.sleep(0.02)
            rows = await queues[0].sql(
                "select scheduled_for, count(*) as n from tasks where schedule = ? group by 1",
                "tick",
            )
            return [(row["scheduled_for"], row["n"]) for row in rows]

        found = await until(runs, lambda seen: len(seen) >= 6)
    assert {1} == {number for _, number in found}


async def test_a_host_that_slept_through_its_lease_can_settle_nothing(
    shared: PostgresHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    asleep, awake = shared.queue(), shared.queue()

    async def hold() -> str:
        return str(await gate.wait("asleep"))

    async def again() -> str:
        return "awake"

    asleep.task(name="hold")(hold)
    awake.task(name="hold")(again)
    async with hosts(asleep, awake):
        await asleep.start_workers("default", 1)
        handle = await asleep.enqueue("hold")
        await gate.arrivals()
        await awake.sql("select 1 as one")
        # As the others see it, whose clock is the server's: the lease of this host has ended.
        fleet = inside(asleep).access.works
        assert isinstance(fleet, Fleet)
        monkeypatch.setattr(fleet.owner, "renew", asyncio.Event().wait)  # which it sleeps through
        await _end_lease(asleep)
        await awake.recover_tasks()
        await awake.start_workers("default", 1)
        assert "awake" == await handle.result(timeout=PATIENCE)
        gate.open()
        await until(_nothing_runs(asleep, handle.id), lambda gone: gone)
        info = await handle.info()
        history = [one.reason for one in await awake.get_history(handle.id)]
    assert ("awake", 2, 1) == (info.result, info.attempt, info.crashes)
    assert ["add", "claim", "worker lost", "claim", "succeed"] == history


async def _end_lease(queue: TaskQueue) -> None:
    store = queue.storage
    await store.connections.rows("update wopr.owners set lease_until = clock_timestamp()")


async def test_children_start_once_when_their_parents_end_at_once_on_two_hosts(
    shared: PostgresHome,
) -> None:
    gate = Gate()
    queues = [shared.queue() for _ in range(2)]

    async def parent(number: int) -> int:
        await gate.wait(number)
        return number

    async def child() -> str:
        return "ran"

    for queue in queues:
        queue.task(name="parent")(parent)
        queue.task(name="child")(child)
    async with hosts(*queues):
        for queue in queues:
            await queue.start_workers("default", 1)
        parents = [await queues[0].enqueue("parent", (number,)) for number in range(2)]
        last = await queues[1].enqueue("child", depends_on=parents)
        await gate.arrivals(2)
        gate.open()
        assert "ran" == await last.result(timeout=PATIENCE)
        assert 1 == (await last.info()).attempt


async def test_an_aborted_host_says_goodbye_and_its_task_is_back_at_once(
    shared: PostgresHome,
) -> None:
    gate = Gate()
    first, second = shared.queue(), shared.queue()

    async def hold() -> str:
        await gate.wait()
        return "done"

    for queue in (first, second):
        queue.task(name="hold")(hold)
    async with hosts(second):
        async with first:
            await first.start_workers("default", 1)
            handle = await second.enqueue("hold")
            await gate.arrivals()
            await first.shutdown(timeout=0)
        assert TaskStatus.PENDING is (await second.require_task_info(handle.id)).status
        gate.open()
        await second.start_workers("default", 1)
        assert "done" == await handle.result(timeout=PATIENCE)


async def test_a_pause_holds_everywhere_and_resuming_goes_on(shared: PostgresHome) -> None:
    worker, operator = shared.queue(), shared.queue()

    @worker.task(name="one")
    async def one() -> int:
        return 1

    operator.task(name="one")(one.function)
    async with hosts(worker, operator):
        await operator.pause("default", reason="repairs")
        await worker.start_workers("default", 1)
        handle = await operator.enqueue("one")
        assert "paused" == (await operator.explain(handle.id)).reason
        await operator.resume("default")
        assert 1 == await handle.result(timeout=PATIENCE)


async def test_a_delay_of_another_host_is_noticed(shared: PostgresHome) -> None:
    worker, client = shared.queue(), shared.queue()

    @worker.task(name="one")
    async def one() -> int:
        return 1

    client.task(name="one")(one.function)
    async with hosts(worker, client):
        await worker.start_workers("default", 1)
        handle = await client.enqueue("one", delay=timedelta(seconds=0.3))
        assert 1 == await handle.result(timeout=PATIENCE)
        status = await until_status(client, handle.id, TaskStatus.SUCCESS)
    assert status.started_at is not None
    assert status.run_at is not None
    assert status.run_at <= status.started_at


async def test_a_claim_whose_answer_got_lost_is_put_back(shared: PostgresHome) -> None:
    queue = shared.queue()

    @queue.task(name="one", category="other")
    async def one() -> int:
        return 1

    async with hosts(queue):
        handle = await queue.enqueue("one")
        await queue.start_workers("default", 1)
        works = inside(queue).access.works
        assert isinstance(works, Fleet)
        [lost] = await works.claiming.claim("other", ["a worker that never hears of it"])
        assert lost[0].id == handle.id
        await until_status(queue, handle.id, TaskStatus.PENDING)
        await queue.start_workers("other", 1)
        assert 1 == await handle.result(timeout=PATIENCE)
        assert 0 == (await handle.info()).crashes


@pytest.mark.parametrize("key", ["k"])
async def test_two_hosts_enqueue_one_task_per_unique_key(shared: PostgresHome, key: str) -> None:
    queues = [shared.queue() for _ in range(2)]
    for queue in queues:

        @queue.task(name="one")
        async def one() -> int:
            return 1

    async with hosts(*queues):
        handles = await asyncio.gather(
            *(queue.enqueue("one", unique_key=key) for queue in queues for _ in range(10))
        )
    assert 1 == len({handle.id for handle in handles})
