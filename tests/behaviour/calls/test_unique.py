"""One live task per unique key."""

from __future__ import annotations

import asyncio

import pytest

from support.queues import Gate, Home, SteppableClock, ended, running, until_status
from wopr import (
    OnConflict,
    Settings,
    TaskQueue,
    TaskStatus,
    UniqueKeyConflictError,
    current_task,
)


def work(queue: TaskQueue) -> Gate:
    """Register a task that waits at a gate."""
    gate = Gate()

    @queue.register_task("work", "c")
    async def work(n: int = 0) -> int:
        await gate.wait(n)
        return n

    return gate


async def test_a_second_enqueue_gives_the_first_one_s_id(home: Home) -> None:
    queue = home.queue()
    gate = work(queue)
    async with running(queue):
        first = await queue.enqueue("work", (1,), unique_key="k")
        second = await queue.enqueue("work", (2,), unique_key="k")
        other = await queue.enqueue("work", (3,), unique_key="other")
        assert first.id == second.id != other.id
        await queue.start_workers("c", 2)
        await gate.arrivals(2)
        running_too = await queue.enqueue("work", (4,), unique_key="k")
        assert first.id == running_too.id
        gate.open()
        await ended(queue, first.id, other.id)
        again = await queue.enqueue("work", (5,), unique_key="k")
        assert again.id != first.id
        await ended(queue, again.id)
    assert [1, 3, 5] == sorted(gate.arrived)


async def test_a_conflict_can_be_an_error(home: Home) -> None:
    queue = home.queue()
    work(queue)
    async with running(queue):
        first = await queue.enqueue("work", unique_key="k", on_conflict=OnConflict.RAISE)
        with pytest.raises(UniqueKeyConflictError, match=f"Task {first.id} is live"):
            await queue.enqueue("work", unique_key="k", on_conflict=OnConflict.RAISE)
        assert 1 == (await queue.get_task_stats())["total"]


@pytest.mark.parametrize("state", ["waiting", "delayed", "running"])
async def test_a_conflict_can_replace_the_first(
    home: Home, clock: SteppableClock, state: str
) -> None:
    queue = home.queue(clock=clock)
    gate = work(queue)
    async with running(queue):
        delay = 60 if state == "delayed" else None
        first = await queue.enqueue("work", (1,), unique_key="k", delay=delay)
        if state == "running":
            await queue.start_workers("c", 1)
            await gate.arrivals()
        second = await queue.enqueue("work", (2,), unique_key="k", on_conflict=OnConflict.REPLACE)
        gate.open()
        if state != "running":
            await queue.start_workers("c", 1)
        infos = await ended(queue, first.id, second.id)
        history = await queue.get_history(first.id)
    assert [TaskStatus.CANCELLED, TaskStatus.SUCCESS] == [info.status for info in infos]
    assert "replaced" == history[-1].reason


@pytest.mark.parametrize("on_conflict", [OnConflict.SKIP, OnConflict.RAISE, OnConflict.REPLACE])
async def test_of_many_at_once_one_task_is_live(home: Home, on_conflict: OnConflict) -> None:
    queue = home.queue()
    work(queue)
    async with running(queue):
        answers = await asyncio.gather(
            *(
                queue.enqueue("work", (n,), unique_key="k", on_conflict=on_conflict)
                for n in range(20)
            ),
            return_exceptions=True,
        )
        stats = await queue.get_task_stats()
        live = await queue.get_tasks(status="pending")
    assert 1 == len(live)
    given = {answer.id for answer in answers if not isinstance(answer, BaseException)}
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    if on_conflict is OnConflict.REPLACE:
        assert ([], 20) == (errors, len(given))
        assert {"pending": 1, "cancelled": 19} == stats["by_status"]
    else:
        assert {live[0].id} == given
        assert {"pending": 1} == stats["by_status"]
        assert (19 if on_conflict is OnConflict.RAISE else 0) == len(errors)
        assert all(isinstance(error, UniqueKeyConflictError) for error in errors)


async def test_a_key_is_kept_over_a_restart(home: Home) -> None:
    queue = home.queue()
    work(queue)
    async with running(queue):
        first = await queue.enqueue("work", unique_key="k")
    queue = home.queue()
    work(queue).open()
    async with running(queue):
        second = await queue.enqueue("work", unique_key="k")
        assert first.id == second.id
        await queue.start_workers("c")
        await ended(queue, first.id)
        third = await queue.enqueue("work", unique_key="k")
        assert third.id != first.id


@pytest.mark.parametrize("end", ["cancelled", "failed"])
async def test_a_key_is_free_after_any_end(home: Home, end: str) -> None:
    queue = home.queue()
    queue.register_task("fail", "c")(lambda: 1 / 0)
    async with running(queue):
        first = await queue.enqueue("fail", unique_key="k")
        if end == "cancelled":
            await first.cancel()
        else:
            await queue.start_workers("c")
            await ended(queue, first.id)
        second = await queue.enqueue("fail", unique_key="k")
        assert first.id != second.id


async def test_a_key_stays_taken_while_a_retry_waits(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    queue.register_task("fail", "c")(lambda: 1 / 0)
    async with running(queue, c=1):
        first = await queue.enqueue("fail", unique_key="k", max_retries=1)
        await until_status(queue, first.id, TaskStatus.RETRY)
        second = await queue.enqueue("fail", unique_key="k")
        assert first.id == second.id


async def test_a_task_whose_key_was_taken_meanwhile_can_not_be_retried_by_hand(
    home: Home,
) -> None:
    queue = home.queue()
    gate = asyncio.Event()

    @queue.register_task("fail", "c")
    async def fail() -> None:
        if (await queue.require_task_info(current_task().id)).attempt > 1:
            await gate.wait()
        raise ValueError("no")

    async with running(queue):
        await queue.start_workers("c")
        first = await queue.enqueue("fail", unique_key="k")
        await ended(queue, first.id)
        second = await queue.enqueue("fail", unique_key="k", delay=3_600)
        with pytest.raises(UniqueKeyConflictError, match=f"task {second.id} is live"):
            await queue.retry_task(first.id)
        await second.cancel()
        assert True is await queue.retry_task(first.id)
        third = await queue.enqueue("fail", unique_key="k")
        assert first.id == third.id
        gate.set()


async def test_in_bulk_equal_keys_are_one_task(home: Home) -> None:
    queue = home.queue(settings=Settings(window=10))

    @queue.task(name="work", category="c")
    async def work(n: int) -> int:
        return n

    async with running(queue):
        handles = await work.options(unique_key="k").enqueue_many([(n,) for n in range(5)])
        stats = await queue.get_task_stats()
    assert 1 == len({handle.id for handle in handles})
    assert 5 == len(handles)
    assert 1 == stats["total"]
