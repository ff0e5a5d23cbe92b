"""Finding, waiting for, counting and deleting tasks."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from support.queues import NOON, PATIENCE, DuckDBHome, Home, SteppableClock, ended, running
from wopr import (
    InvalidCallError,
    TaskFailedError,
    TaskNotFoundError,
    TaskQueue,
    TaskStatus,
)
from wopr.queue.queue import inside

UNKNOWN = "0190cafe-0000-7000-8000-000000000000"


def register(queue: TaskQueue) -> None:
    """Register two tasks in two categories."""
    queue.register_task("echo", "a")(lambda n: n)
    queue.register_task("fail", "b")(lambda n: 1 / 0)


async def fill(queue: TaskQueue) -> dict[int, str]:
    """Add ten tasks, of which the even ones fail; return their ids by number."""
    return {n: await queue.add_task("echo" if n % 2 else "fail", n=n) for n in range(10)}


async def numbers(queue: TaskQueue, **filters: object) -> list[int]:
    """Return the numbers of the tasks found."""
    return [info.kwargs["n"] for info in await queue.get_tasks(**filters)]  # type: ignore[arg-type]


async def test_tasks_are_listed_newest_first_and_filtered(home: Home) -> None:
    queue = home.queue()
    register(queue)
    async with running(queue):
        ids = await fill(queue)
        await queue.start_workers("b")
        await ended(queue, *(ids[n] for n in range(0, 10, 2)))
        await queue.cancel_task(ids[5])

        assert [9, 8, 7, 6, 5, 4, 3, 2, 1, 0] == await numbers(queue)
        assert [9, 8, 7] == await numbers(queue, limit=3)
        assert [6, 5] == await numbers(queue, limit=2, offset=3)
        assert [] == await numbers(queue, offset=10)
        assert [] == await numbers(queue, limit=0)
        assert [9, 7, 5, 3, 1] == await numbers(queue, category="a")
        assert [8, 6, 4, 2, 0] == await numbers(queue, name="fail")
        assert [9, 7, 3, 1] == await numbers(queue, status="pending")
        assert [5] == await numbers(queue, status=TaskStatus.CANCELLED)
        assert [8, 6] == await numbers(queue, category="b", status="failed", limit=2)
        assert [] == await numbers(queue, category="a", name="fail")


async def test_a_cursor_pages_through_while_new_tasks_arrive(home: Home) -> None:
    queue = home.queue()
    register(queue)
    async with running(queue):
        await fill(queue)
        seen: list[int] = []
        cursor = None
        while page := await queue.get_tasks(limit=3, cursor=cursor):
            seen += [info.kwargs["n"] for info in page]
            cursor = page[-1].id
            await queue.add_task("echo", n=99)
        with pytest.raises(TaskNotFoundError):
            await queue.get_tasks(cursor=UNKNOWN)
    assert [9, 8, 7, 6, 5, 4, 3, 2, 1, 0] == seen


async def test_the_list_survives_a_restart(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    register(queue)
    async with running(queue):
        await fill(queue)
    queue = home.queue(clock=clock)
    register(queue)
    async with running(queue):
        await queue.add_task("echo", n=10)
        assert [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0] == await numbers(queue)


async def test_what_is_unknown_is_none(home: Home) -> None:
    queue = home.queue()
    async with running(queue):
        assert None is await queue.get_task_info(UNKNOWN)
        assert None is await queue.get_task_info("no id at all")
        assert [] == await queue.get_history(UNKNOWN)
        for look in (queue.explain, queue.wait):
            with pytest.raises(TaskNotFoundError, match=UNKNOWN):
                await look(UNKNOWN)
        handle = queue.handle(UNKNOWN)
        for ask in (handle.result, handle.info, handle.status):
            with pytest.raises(LookupError, match=UNKNOWN):
                await ask()
        assert False is await handle.cancel()


async def test_handles_answer_for_their_task(home: Home) -> None:
    queue = home.queue()
    register(queue)
    async with running(queue):
        good, bad = await queue.enqueue("echo", (7,)), await queue.enqueue("fail", (8,))
        assert TaskStatus.PENDING is await good.status()
        with pytest.raises(TimeoutError, match=r"did not end within 0\.001 s"):
            await good.result(timeout=0.001)
        await queue.start_workers("a")
        await queue.start_workers("b")
        assert 7 == await good.result(timeout=PATIENCE)
        assert 7 == await queue.handle(good.id).result()
        with pytest.raises(TaskFailedError, match="ZeroDivisionError"):
            await bad.result(timeout=PATIENCE)
        assert TaskStatus.FAILED is (await bad.info()).status
        assert TaskStatus.SUCCESS is (await queue.wait(good.id)).status


async def test_many_may_wait_for_one_task(home: Home) -> None:
    queue = home.queue()
    register(queue)
    async with running(queue):
        handle = await queue.enqueue("echo", (7,))
        waiting = [asyncio.create_task(handle.result(timeout=PATIENCE)) for _ in range(20)]
        impatient = asyncio.create_task(handle.result())
        await asyncio.sleep(0)
        impatient.cancel()
        await queue.start_workers("a")
        assert [7] * 20 == await asyncio.gather(*waiting)
        with pytest.raises(asyncio.CancelledError):
            await impatient
        assert {} == inside(queue).access._engine.shared.waiters  # type: ignore[union-attr]


async def test_stats_count_more_than_a_thousand(home: Home) -> None:
    queue = home.queue()

    @queue.task(name="echo", category="a")
    async def echo(n: int) -> int:
        return n

    async with running(queue):
        await echo.enqueue_many([(n,) for n in range(1_234)])
        stats = await queue.get_task_stats()
    assert {
        "total": 1_234,
        "by_status": {"pending": 1_234},
        "by_category": {"a": 1_234},
        "running": 0,
        "queued": 1_234,
    } == stats


async def test_bulk_enqueueing_keeps_the_order(home: Home) -> None:
    queue = home.queue()
    started: list[int] = []

    @queue.task(name="note", category="a")
    async def note(n: int) -> int:
        started.append(n)
        return n

    async with running(queue):
        handles = await note.enqueue_many([(0,), {"n": 1}, *((n,) for n in range(2, 50))])
        await queue.start_workers("a")
        results = [await handle.result(timeout=PATIENCE) for handle in handles]
        assert [] == await note.enqueue_many([])
    assert list(range(50)) == results == started


async def test_delays_of_calls_in_bulk_count_from_one_clock(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = home.queue()
    later = queue.task(name="later")(lambda n: n).options(delay=60)
    ahead = SteppableClock(NOON + timedelta(hours=1))  # as where the tasks are, and not here
    monkeypatch.setattr(type(inside(queue).access), "time", property(lambda _: ahead))
    async with running(queue):
        await later.enqueue_many([(0,), (1,), {"n": 2}])
        due = {info.run_at for info in await queue.get_tasks()}
    assert {NOON + timedelta(hours=1, seconds=60)} == due


# -- cleanup ---------------------------------------------------------------------


async def _old(queue: TaskQueue, clock: SteppableClock, days: float) -> str:
    """Add a task that ended so many days before the clock's time."""
    now = clock.time
    clock.time = now - timedelta(days=days)
    task_id = await queue.add_task("echo", n=int(days))
    await ended(queue, task_id)
    clock.time = now
    return task_id


@pytest.mark.parametrize(
    ("age", "deleted"),
    [
        ({}, []),
        ({"days": 0}, [0, 1, 29, 31, 364, 366, 400]),
        ({"days": 1}, [1, 29, 31, 364, 366, 400]),
        ({"days": 30}, [31, 364, 366, 400]),
        ({"months": 1}, [31, 364, 366, 400]),
        ({"years": 1}, [366, 400]),
        ({"years": 1, "months": 1}, [400]),
        ({"days": 2, "months": 1, "years": 1}, [400]),
        ({"days": 10, "months": 1, "years": 1}, []),
        ({"years": 0, "months": 0}, [0, 1, 29, 31, 364, 366, 400]),
    ],
)
async def test_cleanup_deletes_what_ended_so_long_ago(
    durable_home: DuckDBHome, clock: SteppableClock, age: dict[str, int], deleted: list[int]
) -> None:
    queue = durable_home.queue(clock=clock)
    register(queue)
    ages = [0, 1, 29, 31, 364, 366, 400]
    async with running(queue, a=1):
        ids = {days: await _old(queue, clock, days) for days in ages}
        live = await queue.enqueue("echo", (0,), delay=3_600)
        assert len(deleted) == await queue.cleanup_old_tasks(**age)
        assert 0 == await queue.cleanup_old_tasks(**age)
        left = {days for days, task_id in ids.items() if await queue.get_task_info(task_id)}
        assert set(ages) - set(deleted) == left
        assert TaskStatus.PENDING is await live.status()
        assert 1 + len(left) == (await queue.get_task_stats())["total"]
    async with running(durable_home.queue()) as later:
        assert 1 + len(left) == (await later.get_task_stats())["total"]


async def test_cleanup_spares_what_lives_and_counts_on_every_storage(home: Home) -> None:
    queue = home.queue()
    register(queue)
    async with running(queue):
        ids = await fill(queue)
        await queue.start_workers("b")
        await ended(queue, *(ids[n] for n in range(0, 10, 2)))
        await queue.cancel_task(ids[1])
        assert 6 == await queue.cleanup_old_tasks(days=0)
        assert [9, 7, 5, 3] == await numbers(queue)
    async with running(home.queue()) as later:
        assert [9, 7, 5, 3] == await numbers(later)


@pytest.mark.parametrize("keep", [False, True])
async def test_cleanup_deletes_the_history_too_unless_it_is_to_be_kept(
    home: Home, keep: bool
) -> None:
    queue = home.queue()
    register(queue)
    async with running(queue, a=1):
        [info] = await ended(queue, await queue.add_task("echo", n=1))
        await queue.cleanup_old_tasks(days=0, keep_history=keep)
        assert None is await queue.get_task_info(info.id)
        history = await queue.get_history(info.id)
    assert (["add", "claim", "succeed"] if keep else []) == [step.reason for step in history]


@pytest.mark.parametrize("bad", [{"days": -1}, {"months": 1.5}, {"years": "1"}, {"days": True}])
async def test_an_age_that_is_none_deletes_nothing(home: Home, bad: dict[str, int]) -> None:
    queue = home.queue()
    register(queue)
    async with running(queue, a=1):
        await ended(queue, await queue.add_task("echo", n=1))
        with pytest.raises(InvalidCallError, match="must be a whole number"):
            await queue.cleanup_old_tasks(**bad)
        assert [1] == await numbers(queue)


# -- questions -------------------------------------------------------------------


async def test_sql_sees_everything_enqueued_before(durable_home: DuckDBHome) -> None:
    queue = durable_home.queue()
    register(queue)
    async with running(queue):
        for count in range(1, 4):
            await queue.add_task("echo", n=count)
            rows = await queue.sql("select count(*) as n from tasks where name = ?", "echo")
            assert [{"n": count}] == list(rows)


async def test_explain_says_what_a_task_waits_for(home: Home) -> None:
    queue = home.queue()
    register(queue)
    async with running(queue):
        ids = await fill(queue)
        why = await queue.explain(ids[9])
        assert ("no workers", 4) == (why.reason, why.ahead)
        assert "queue.start_workers('a', 4)" in why.text
        await queue.cancel_task(ids[9])
        by_hand = await queue.explain(ids[9])
        assert "ended" == by_hand.reason
        assert "The reason" not in by_hand.text
        await queue.revoke(ids[7], reason="wrong price")
        assert "The reason: wrong price." in (await queue.explain(ids[7])).text


async def test_the_history_of_a_success(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    register(queue)
    async with running(queue, a=1):
        [info] = await ended(queue, await queue.add_task("echo", n=1))
        history = await queue.get_history(info.id)
        worker = queue.workers["a"][0].name
    assert [(0, "add", None), (1, "claim", worker), (1, "succeed", worker)] == [
        (step.attempt, step.reason, step.worker) for step in history
    ]
    assert [(None, "pending"), ("pending", "started"), ("started", "success")] == [
        (step.from_status, step.to_status) for step in history
    ]
    assert {clock.now()} == {step.occurred_at for step in history}
    assert sorted({step.seq for step in history}) == [step.seq for step in history]
