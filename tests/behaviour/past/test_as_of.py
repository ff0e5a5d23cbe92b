"""``queue.as_of(moment)``: every answer is the one that the queue itself gave at that moment."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.queues import NOON, MemoryStorage, SteppableClock, until_status
from wopr import (
    InvalidCallError,
    QueryError,
    Settings,
    Snooze,
    TaskInfo,
    TaskNotFoundError,
    TaskPriority,
    TaskQueue,
    TaskStatus,
)
from wopr.insights import pastqueries, queries
from wopr.testing import drain

COLUMNS = (
    "id, name, category, priority, status, attempt, retry_count, max_retries, crashes, args, "
    "kwargs, options, unique_key, run_at, created_at, started_at, worker, error, error_type, "
    "version, waiting, depends_on, flow_id, schedule, scheduled_for, "
    "case when status <> 'success' then completed_at end as completed_at"
)
ROWS = f"select {COLUMNS} from tasks order by seq"
PAST_ROWS = f"{pastqueries._TASKS} select {COLUMNS} from past order by seq"


@dataclass
class Seen:
    """What the queue itself said at a moment."""

    stats: dict[str, Any]
    infos: list[TaskInfo]
    live: list[tuple[Any, ...]]
    rows: list[tuple[Any, ...]]
    """All that conditions in SQL can be about."""
    pauses: list[str]


async def look(queue: TaskQueue) -> Seen:
    """Ask the queue as it is now."""
    answer = await queue.sql(queries.LIVE_BY_CATEGORY, now_of(queue))
    return Seen(
        await queue.get_task_stats(),
        await queue.get_tasks(),
        [row[:4] for row in answer.rows],
        (await queue.sql(ROWS)).rows,
        [one.name for one in await queue.pauses()],
    )


def now_of(queue: TaskQueue) -> Any:
    """Return the time of the queue's clock as its file holds it."""
    return queue._core.clock.now().replace(tzinfo=None)


async def compare(queue: TaskQueue, moment: Any, seen: Seen) -> None:
    """Compare what is said of a moment with what was said then."""
    past = queue.as_of(moment)
    stats = await past.get_task_stats()
    assert seen.stats == stats
    infos = await past.get_tasks()
    assert [plain(one) for one in seen.infos] == [plain(one) for one in infos]
    answer = await queue.sql(PAST_ROWS, past.moment.replace(tzinfo=None))
    assert seen.rows == answer.rows
    assert seen.pauses == [one.name for one in await past.pauses()]
    status = await past.status()
    backlog = [(one.category, one.waiting, one.due, one.running) for one in status.backlog]
    assert seen.live == backlog
    assert seen.stats["queued"] == status.waiting
    assert seen.stats["running"] == status.running


def plain(info: TaskInfo) -> TaskInfo:
    """Return a snapshot without what no history tells of a task that runs."""
    return replace(info, progress=0.0, progress_message="")


def declare(queue: TaskQueue) -> dict[str, Any]:
    """Declare tasks that succeed, fail, are tried again and come back."""
    bad = {"flaky": 2, "snoozes": 1}

    @queue.task(name="good", category="fast")
    async def good(number: int) -> int:
        return number

    @queue.task(name="flaky", category="fast", max_retries=3)
    async def flaky(number: int) -> int:
        if bad["flaky"]:
            bad["flaky"] -= 1
            raise ValueError(f"{number} is broken")
        return number

    @queue.task(name="hopeless", category="slow", max_retries=0)
    async def hopeless() -> None:
        raise ValueError("it is always broken")

    @queue.task(name="sleepy", category="slow")
    async def sleepy() -> None:
        if bad["snoozes"]:
            bad["snoozes"] -= 1
            raise Snooze(300)

    return {"good": good, "flaky": flaky, "hopeless": hopeless, "sleepy": sleepy}


async def story(queue: TaskQueue, clock: SteppableClock, seen: dict[Any, Seen]) -> None:
    """Do one of everything, a minute after the other, and look each time."""
    tasks = declare(queue)

    async def then(*results: Any) -> None:
        seen[clock.now()] = await look(queue)
        clock.advance(60, queue)

    await then()
    first = await tasks["good"].enqueue(1)
    await tasks["flaky"].enqueue(2)
    failed = await tasks["hopeless"].enqueue()
    await tasks["sleepy"].enqueue()
    later = await tasks["good"].options(delay=7200, tags=["late"]).enqueue(3)
    child = await tasks["good"].options(depends_on=[later]).enqueue(4)
    await then()
    await queue.pause("slow", reason="moving house")
    await queue.tasks.where(ids=first.id).set_priority(TaskPriority.CRITICAL)
    await then()
    await then(await queue.tasks.where(ids=first.id).move("slow"))
    await then(await drain(queue, "fast"))
    await then(await queue.undo((await queue.acts())[0].number))
    await queue.resume("slow")
    await then(await drain(queue, "slow"))
    await then(await drain(queue))
    await then(await queue.undo(1))  # the pause, which was lifted since: nothing
    await then(await queue.retry_task(failed.id))
    await then(await drain(queue))
    act = await queue.tasks.where(name="good", status="pending").cancel()
    await then()
    await then(await queue.undo(act.act.number))
    await then(await queue.tasks.where(ids=later.id).delay(30))
    await then(await drain(queue))
    await then()
    assert "success" == (await queue.require_task_info(child.id)).status.value


async def test_it_says_what_the_queue_said(tmp_path: Path) -> None:
    clock = SteppableClock()
    seen: dict[Any, Seen] = {}
    path, settings = tmp_path / "t.duckdb", Settings(archive=tmp_path / "old")
    async with TaskQueue(enabled=True, database=path, clock=clock, settings=settings) as queue:
        await story(queue, clock, seen)
        assert 15 <= len(seen)
        for moment, then in seen.items():
            await compare(queue, moment, then)
        other = TaskQueue(enabled=True, database=path, clock=clock, settings=settings)
        moment, then = list(seen.items())[6]
        await compare(other, moment, then)  # through the owner
        await other.shutdown()
        assert 0 < await queue.archive_old_tasks(days=0)
        assert 0 == (await queue.get_task_stats())["total"]
        for moment, then in list(seen.items())[::5]:
            await compare(queue, moment, then)
        status = await queue.as_of(0).status()
        assert status.gone_until is not None


async def test_one_task_and_its_history_are_as_they_were(tmp_path: Path) -> None:
    clock = SteppableClock()
    async with TaskQueue(enabled=True, database=tmp_path / "t.duckdb", clock=clock) as queue:
        tasks = declare(queue)
        handle = await tasks["good"].enqueue(1)
        clock.advance(60)
        await drain(queue)
        before, after = queue.as_of(NOON + timedelta(seconds=30)), queue.as_of(0)
        assert "pending" == (await before.require_task_info(handle.id)).status.value
        assert 1 == (await after.require_task_info(handle.id)).result
        assert ["add"] == [one.reason for one in await before.get_history(handle.id)]
        assert 3 == len(await after.get_history(handle.id))
        never = queue.as_of(NOON - timedelta(seconds=1))
        assert await never.get_task_info(handle.id) is None
        assert await after.get_task_info("no id") is None
        with pytest.raises(TaskNotFoundError, match="There was no task"):
            await never.require_task_info(handle.id)
        assert [] == await never.get_tasks()
        assert 0 == (await never.get_task_stats())["total"]


async def test_tasks_come_in_pages_and_by_the_conditions_of_selections(tmp_path: Path) -> None:
    clock = SteppableClock()
    async with TaskQueue(enabled=True, database=tmp_path / "t.duckdb", clock=clock) as queue:
        tasks = declare(queue)
        ids = [(await tasks["good"].options(tags=["a"]).enqueue(n)).id for n in range(5)]
        failed = await tasks["hopeless"].enqueue()
        await drain(queue)
        clock.advance(60)
        await queue.retry_task(failed.id)  # the newest failure is of before
        clock.advance(60)
        past = queue.as_of(90)
        page = await past.get_tasks(name="good", limit=2)
        assert ids[:2:-1] == [one.id for one in page]
        page = await past.get_tasks(name="good", limit=2, cursor=page[-1].id)
        assert [ids[2], ids[1]] == [one.id for one in page]
        assert 5 == len(await past.get_tasks(tag="a", ids=ids))
        assert [failed.id] == [one.id for one in await past.get_tasks(status=["failed", "retry"])]
        found = await past.get_tasks(error="ValueError: it is always broken")
        assert [failed.id] == [one.id for one in found]
        assert [] == await past.get_tasks(error="ValueError: it is always broken", ids=ids)
        assert [] == await past.get_tasks(since=NOON + timedelta(seconds=1))
        assert 1 == len(await past.get_tasks(condition="name = 'hopeless'", category="slow"))
        unknown = "result like '%x%' or progress_data like '%x%' or elapsed_seconds > 1e9"
        assert [] == await past.get_tasks(condition=unknown)
        with pytest.raises(QueryError, match=r"can't be parsed|failed"):
            await past.get_tasks(condition="name =")
        with pytest.raises(InvalidCallError, match="is no whole id"):
            await past.get_tasks(ids="0190")
        with pytest.raises(TaskNotFoundError, match="no page after it"):
            await past.get_tasks(cursor="nobody")


async def test_workers_are_those_that_ran_something(tmp_path: Path) -> None:
    clock = SteppableClock()
    async with TaskQueue(enabled=True, database=tmp_path / "t.duckdb", clock=clock) as queue:
        gate = asyncio.Event()

        @queue.task(name="long", category="fast")
        async def long() -> None:
            await gate.wait()

        await queue.start_workers("fast", 2)
        handle = await long.enqueue()
        await until_status(queue, handle.id, TaskStatus.STARTED)
        clock.advance(60)
        [running] = await queue.as_of(30).worker_info()
        [real] = [one for one in await queue.worker_info() if one.task_id]
        assert (real.name, real.task_id, "long", 1, NOON) == (
            running.name,
            running.task_id,
            running.task_name,
            running.attempt,
            running.since,
        )
        gate.set()
        await handle.result()
        clock.advance(1800)
        [idle] = await queue.as_of(0).worker_info()
        assert (real.name, None, NOON) == (idle.name, idle.task_id, idle.last_claim_at)
        clock.advance(7200)
        assert [] == await queue.as_of(0).worker_info()


async def test_a_moment_has_to_have_come_and_to_be_one(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "t.duckdb", clock=SteppableClock())
    with pytest.raises(InvalidCallError, match="has not come"):
        queue.as_of(NOON + timedelta(seconds=1))
    with pytest.raises(InvalidCallError, match="time zone"):
        queue.as_of(NOON.replace(tzinfo=None))
    with pytest.raises(InvalidCallError, match="number of seconds"):
        queue.as_of("yesterday")  # type: ignore[arg-type]
    past = queue.as_of(timedelta(hours=1))
    assert NOON - timedelta(hours=1) == past.moment
    assert 0 == (await past.status()).waiting  # there is no file yet
    assert "as of 2030-05-17" in repr(past)
    await queue.shutdown()


async def test_a_storage_without_sql_says_so() -> None:
    storage = MemoryStorage()
    async with TaskQueue(enabled=True, storage_factory=lambda: storage) as queue:
        with pytest.raises(QueryError, match="has no SQL"):
            await queue.as_of(0).get_task_stats()
