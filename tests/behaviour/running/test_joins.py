"""Running tasks that wait for other tasks: it is seen who is stuck, and slots can be lent."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from support.process_tasks import ask_for_another, double
from support.queues import PATIENCE, DuckDBHome, Gate, ended, running, until, until_status
from wopr import TaskQueue, TaskStatus, chain, group
from wopr.ports.answers import Explanation
from wopr.queue.queue import inside

SUCCESS, PENDING, STARTED = TaskStatus.SUCCESS, TaskStatus.PENDING, TaskStatus.STARTED
HOWS = ["result", "wait", "sync", "chain", "group", "gather"]


@pytest.fixture
def queue(durable_home: DuckDBHome) -> TaskQueue:
    return durable_home.queue()


def family(queue: TaskQueue, how: str = "result", category: str = "default") -> Any:
    """Return a task that enqueues another one of its category and waits for it, in some way."""

    @queue.task(name="child", category=category)
    async def child(n: int) -> int:
        return n + 1

    if how == "sync":

        @queue.task(name="parent", category=category)
        def parent(n: int) -> int:
            with queue.sync() as sync:
                handle = sync(child.enqueue, n)
                return sync(handle.result)

        return parent

    @queue.task(name="parent", category=category)
    async def waits(n: int) -> int:
        if how == "chain":
            flow = await queue.enqueue_flow(chain(child.s(n), child.s()))
            return await flow.result() - 1
        if how == "group":
            return (await (await queue.enqueue_flow(group(child.s(n), child.s(n)))).result())[0]
        handles = [await child.enqueue(n) for _ in range(3)]
        if how == "gather":
            return (await asyncio.gather(*(handle.result() for handle in handles)))[0]
        if how == "wait":
            return (await queue.wait(handles[0].id)).result
        return await handles[0].result()

    return waits


async def until_stuck(queue: TaskQueue, task_id: str) -> Explanation:
    return await until(lambda: queue.explain(task_id), lambda told: told.reason == "stuck")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "wopr.engine.joins" and record.levelno == logging.WARNING
    ]


async def until_warned(caplog: pytest.LogCaptureFixture, count: int) -> list[str]:
    async with asyncio.timeout(PATIENCE):
        while len(warnings(caplog)) < count:
            await asyncio.sleep(0)
    return warnings(caplog)


# -- seen ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOWS)
async def test_tasks_that_wait_for_their_own_category_are_seen(
    queue: TaskQueue, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    parent = family(queue, how)
    async with running(queue):
        handles = [await parent.enqueue(n) for n in range(2)]
        await queue.start_workers(worker_count=2)  # which takes both at once
        said = await until_warned(caplog, 2)
        for handle in handles:
            told = await until_stuck(queue, handle.id)
            assert any(handle.id in one for one in said)
            assert "all 2 workers of category 'default' run tasks that wait for others" in told.text
            assert "lend_slots=True" in told.text
        found = [await queue.explain(one.id) for one in await queue.get_tasks(status=PENDING)]
        assert {told.reason for told in found} <= {"stuck", "waiting for parents"}
        named = [told for told in found if "waits for it" in told.text]
        assert named or how == "chain"  # where the awaited one waits for its parents
        engine = inside(queue).access.engine
        assert engine is not None
        engine.joins._look()
        assert 2 == len(warnings(caplog))


async def test_a_circle_of_categories_is_seen_and_who_goes_on_is_not_part_of_it(
    queue: TaskQueue, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()

    @queue.task(name="leaf", category="b")
    async def leaf() -> None: ...

    @queue.task(name="one", category="a")
    async def one() -> None:
        await (await two.enqueue()).result()

    @queue.task(name="two", category="b")
    async def two() -> None:
        await gate.wait()
        await (await queue.enqueue("three")).result()

    @queue.task(name="three", category="a")
    async def three() -> None: ...

    @queue.task(name="innocent", category="c")
    async def innocent() -> None:
        await (await two.enqueue()).result()

    async with running(queue, a=1, b=1, c=1):
        first = await one.enqueue()
        await gate.arrivals()
        assert "running" == (await queue.explain(first.id)).reason  # the other one goes on
        assert "It waits for task" in (await queue.explain(first.id)).text
        gate.open()
        told = await until_stuck(queue, first.id)
        assert "it runs and waits for others itself" in told.text
        assert 2 == len(await until_warned(caplog, 2))
        await queue.start_workers("a", 1)
        await first.result(timeout=PATIENCE)
        await (await innocent.enqueue()).result(timeout=PATIENCE)


async def test_a_limit_that_holds_the_awaited_task_back_is_seen(
    queue: TaskQueue, caplog: pytest.LogCaptureFixture
) -> None:
    parent = family(queue)
    async with running(queue, default=3):
        await queue.set_limit("default", concurrency=1)
        handle = await parent.enqueue(1)
        told = await until_stuck(queue, handle.id)
        assert "1 of at most 1 task of 'default' run" in told.text
        await until_warned(caplog, 1)
        await queue.set_limit("default", concurrency=2)
        assert 2 == await handle.result(timeout=PATIENCE)


async def test_one_who_waits_for_a_busy_category_is_not_stuck(
    queue: TaskQueue, caplog: pytest.LogCaptureFixture
) -> None:
    gate, parent = Gate(), family(queue)
    hold = queue.task(name="hold")(gate.wait)
    async with running(queue, default=2):
        await hold.enqueue()
        handle = await parent.enqueue(1)
        await gate.arrivals()
        told = await until(
            lambda: queue.explain(handle.id), lambda told: "It waits for task" in told.text
        )
        assert "running" == told.reason
        engine = inside(queue).access.engine
        assert engine is not None
        engine.joins._look()
        assert [] == warnings(caplog)
        gate.open()
        assert 2 == await handle.result(timeout=PATIENCE)
        assert {} == engine.joins._joins


async def test_a_caller_that_is_no_task_is_not_noted(queue: TaskQueue) -> None:
    async with running(queue):
        child = await family(queue).enqueue(1)
        waiting = asyncio.create_task(child.result())
        await asyncio.sleep(0)
        engine = inside(queue).access.engine
        assert engine is not None
        assert {} == engine.joins._joins
        waiting.cancel()


# -- lent ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOWS)
async def test_a_category_that_lends_its_slots_is_never_stuck(
    queue: TaskQueue, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    queue.category("default", lend_slots=True)
    parent = family(queue, how)
    async with running(queue, default=2):
        await queue.set_limit("default", concurrency=2)
        handles = [await parent.enqueue(n) for n in range(20)]
        assert [n + 1 for n in range(20)] == [await one.result(PATIENCE) for one in handles]
        pool = inside(queue).access.pools["default"]
        await until(queue.get_task_stats, lambda stats: not stats["running"] + stats["queued"])
        assert (2, 0, 0) == (len(pool._free), pool.lending._lent, len(pool.lending.back))
        assert pool.gate is not None
        assert [0] == [meter.running for meter in pool.gate._whole]
    assert [] == warnings(caplog)


@pytest.mark.parametrize("limited", [False, True])
async def test_never_more_run_at_the_same_time_than_there_are_slots(
    queue: TaskQueue, limited: bool
) -> None:
    queue.category("default", lend_slots=True)
    now, most = 0, 0

    async def work() -> None:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        now -= 1

    @queue.task(name="tree")
    async def tree(depth: int) -> int:
        await work()
        if not depth:
            return 1
        handles = [await queue.enqueue("tree", (depth - 1,)) for _ in range(3)]
        results = await asyncio.gather(*(handle.result() for handle in handles))
        await work()
        return sum(results)

    async with running(queue, default=8 if limited else 2):
        if limited:
            await queue.set_limit("default", concurrency=2)
        roots = [await tree.enqueue(3) for _ in range(2)]
        assert [27, 27] == [await root.result(PATIENCE) for root in roots]
    assert 2 == most


async def test_who_comes_back_is_served_before_anything_starts(queue: TaskQueue) -> None:
    queue.category("default", lend_slots=True)
    order: list[str] = []
    gate = Gate()

    @queue.task(name="child", category="elsewhere")
    async def child() -> None:
        order.append("child")

    @queue.task(name="parent")
    async def parent() -> None:
        handle = await child.enqueue()
        await handle.result()
        order.append("parent")

    @queue.task(name="hold")
    async def hold(name: str) -> None:
        await gate.wait(name)
        order.append(name)

    async with running(queue, default=1):
        first = await parent.enqueue()
        await until(queue.get_task_stats, lambda stats: stats["by_category"].get("elsewhere"))
        busy = await hold.enqueue("busy")
        await gate.arrivals()
        last = await hold.enqueue("last")
        await queue.start_workers("elsewhere")
        pool = inside(queue).access.pools["default"]
        while not pool.lending.back:
            await asyncio.sleep(0)
        assert "running" == (await queue.explain(first.id)).reason
        gate.open()
        await ended(queue, first.id, busy.id, last.id)
    assert ["child", "busy", "parent", "last"] == order


@pytest.mark.parametrize("limited", [False, True])
async def test_who_comes_back_gets_a_worker_or_room_that_is_added(
    queue: TaskQueue, limited: bool
) -> None:
    queue.category("default", lend_slots=True)
    gate = Gate()
    hold = queue.task(name="hold")(gate.wait)

    @queue.task(name="parent")
    async def parent() -> str:
        handle = await hold.enqueue()
        with pytest.raises(TimeoutError):
            await handle.result(timeout=0.01)
        return "back"

    async with running(queue, default=2 if limited else 1):
        if limited:
            await queue.set_limit("default", concurrency=1)
        handle = await parent.enqueue()
        await gate.arrivals()
        pool = inside(queue).access.pools["default"]
        while not pool.lending.back:
            await asyncio.sleep(0)
        if limited:
            await queue.set_limit("default", concurrency=2)
        else:
            await queue.start_workers()
        assert "back" == await handle.result(timeout=PATIENCE)
        gate.open()


async def test_a_wait_that_is_given_up_takes_its_slot_back(queue: TaskQueue) -> None:
    queue.category("default", lend_slots=True)
    gate = Gate()
    hold = queue.task(name="hold")(gate.wait)

    @queue.task(name="parent")
    async def parent() -> list[bool]:
        handle, slots = await hold.enqueue(), []
        for give_up in (handle.result(timeout=0.01), asyncio.wait_for(handle.result(), 0.01)):
            with pytest.raises(TimeoutError):
                await give_up
            slots.append(await has_slot())
        return slots

    async def has_slot() -> bool:
        pool = inside(queue).access.pools["default"]
        [attempt] = [one for one in pool.running.values() if one.record.name == "parent"]
        while attempt.slot is None:
            await asyncio.sleep(0)
        return attempt.slot is not None

    async with running(queue, default=2):
        handle = await parent.enqueue()
        assert [True, True] == await handle.result(timeout=PATIENCE)
        gate.open()


async def test_a_task_that_has_lent_its_slot_can_be_cancelled_and_interrupted(
    durable_home: DuckDBHome,
) -> None:
    queue, gate = durable_home.queue(), Gate()
    queue.category("default", lend_slots=True)
    hold = queue.task(name="hold", category="never")(gate.wait)

    @queue.task(name="parent")
    async def parent() -> None:
        await (await hold.enqueue()).result()

    async with queue:
        await queue.start_workers()
        handles = [await parent.enqueue() for _ in range(3)]
        pool = inside(queue).access.pools["default"]
        while pool.lending._lent < 3:
            await asyncio.sleep(0)
        assert await handles[0].cancel()
        while pool.lending._lent > 2:
            await asyncio.sleep(0)
        assert 1 == len(pool._free)
        await queue.shutdown(timeout=0)
    async with queue:
        statuses = [await handle.status() for handle in handles]
    assert [TaskStatus.CANCELLED, PENDING, PENDING] == statuses


async def test_so_many_slots_are_lent_and_no_more(
    queue: TaskQueue, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wopr.engine.pools.lending.MOST_LENT", 1)
    queue.category("default", lend_slots=True)

    @queue.task(name="deep")
    async def deep(n: int) -> int:
        return n if n == 3 else await (await queue.enqueue("deep", (n + 1,))).result()

    async with running(queue, default=1):
        handle = await deep.enqueue(0)
        told = await until_stuck(queue, handle.id)
        assert "waits for task" in told.text
        await until_warned(caplog, 2)
        await queue.start_workers("default", 2)
        assert 3 == await handle.result(timeout=PATIENCE)
        await until_status(queue, handle.id, SUCCESS)


# -- from another process --------------------------------------------------------------------


@pytest.mark.parametrize("lends", [False, True])
async def test_a_task_in_a_worker_process_that_waits_is_known_too(
    durable_home: DuckDBHome, caplog: pytest.LogCaptureFixture, lends: bool
) -> None:
    queue = durable_home.queue()
    queue.category("default", lend_slots=lends)
    queue.task(name="double", executor="process")(double)
    asks = queue.task(name="asks", executor="process")(ask_for_another)
    async with running(queue, default=1):
        handle = await asks.enqueue(str(durable_home.path), 21)
        if not lends:
            told = await until_stuck(queue, handle.id)
            assert "all 1 worker of category 'default'" in told.text
            assert 1 == len(await until_warned(caplog, 1))
            await queue.start_workers()
        assert 42 == await handle.result(timeout=PATIENCE)
