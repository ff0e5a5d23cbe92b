"""Old tasks leave a queue on PostgreSQL by rules and by their own word, on one host at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from support.queues import PATIENCE, PostgresHome, ended
from wopr import Settings, TaskQueue
from wopr.access.fleet import FleetAccess
from wopr.access.sharedkeeping import SharedKeeping
from wopr.queue.queue import inside
from wopr.storage.postgres import retirement
from wopr.storage.postgres.connections import Connections

AGED = """
update wopr.tasks set completed_at = completed_at - interval '3 days',
    created_at = created_at - interval '3 days' where completed_at is not null
"""


def keeping_of(queue: TaskQueue) -> SharedKeeping:
    access = inside(queue).access
    assert isinstance(access, FleetAccess)
    assert access.retiring is not None
    return access.retiring


async def rows(queue: TaskQueue, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = await queue.storage.connections.rows(statement, **values)
    return found


async def test_tasks_go_when_their_own_time_is_over(shared: PostgresHome) -> None:
    queue = shared.queue()

    @queue.task(name="work")
    async def work() -> int:
        return 1

    async with queue:
        gone = await work.options(retain=0.001).enqueue()
        stays = await work.options(retain=timedelta(days=4)).enqueue()
        says_nothing = await work.enqueue()
        parent = await work.options(retain=0).enqueue()
        child = await work.options(depends_on=[parent], delay=3600).enqueue()
        await queue.start_workers("default", 1)
        await ended(queue, gone.id, stays.id, says_nothing.id, parent.id)
        assert 1 == await keeping_of(queue).forget()
        left = {one.id for one in await queue.get_tasks()}
        assert {stays.id, says_nothing.id, parent.id, child.id} == left
        assert [] == await queue.get_history(gone.id)
        await rows(queue, AGED)
        assert 1 == await queue.cleanup_old_tasks(days=2)
        left = {one.id for one in await queue.get_tasks()}
        assert {stays.id, parent.id, child.id} == left, "it says itself how long"
        assert await queue.cancel_task(child.id)
        assert 1 == await keeping_of(queue).forget()


async def test_rules_let_go_of_what_was_kept_long_enough(
    shared: PostgresHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retirement, "PORTION", 2)
    few = retirement.DELETE_OLD.replace(f"limit {retirement.LOOKED_AT}", "limit 3")
    monkeypatch.setattr(retirement, "DELETE_OLD", few)
    settings = Settings(keep_success="2d", keep_categories={"mail": {"success": "forever"}})
    queue, other = shared.queue(settings=settings), shared.queue(settings=settings)

    @queue.task(name="work", max_retries=0)
    async def work(number: int) -> None:
        if not number:
            raise ValueError

    @queue.task(name="send", category="mail")
    async def send() -> None: ...

    async with queue, other:
        handles = [await work.enqueue(number) for number in range(6)]
        kept = [handles[0].id, (await send.enqueue()).id]
        await queue.start_workers("default", 2)
        await queue.start_workers("mail", 1)
        await ended(queue, *[one.id for one in handles], kept[1])
        await keeping_of(queue).rules.round()
        assert 7 == (await queue.get_task_stats())["total"]
        await rows(queue, AGED)
        await rows(queue, "delete from wopr.meta where key like 'retired%%'")
        keeping = keeping_of(queue)
        keeping._retirement._rounds.clear()  # as if the day had begun only now
        async with await queue.storage.connections.connect() as connection:
            await connection.execute(
                "select pg_advisory_lock(hashtextextended('wopr retirement', 0))"
            )
            await keeping.rules.round()
            assert 7 == (await queue.get_task_stats())["total"], "another host is at it"
            await connection.execute("select pg_advisory_unlock_all()")
        await keeping.rules.round()
        assert set(kept) == {one.id for one in await queue.get_tasks()}
        assert keeping.rules.told is not None
        assert 5 == keeping.rules.told.deleted
        [act] = await other.acts()
        assert ("retire", 5) == (act.verb, act.changed)
        assert (await other.as_of(0).status()).gone_until is not None
        status = await queue.status()
        assert status.kept is not None
        assert any("success 2 d, then deleted" in rule for rule in status.kept.rules)
        await rows(queue, "update wopr.tasks set status = 'success'")
        await keeping_of(other).rules.round()
        assert 2 == (await queue.get_task_stats())["total"], "this day is over and done with"


async def test_the_last_run_that_a_schedule_waits_for_stays(shared: PostgresHome) -> None:
    queue = shared.queue()

    @queue.task(name="work")
    async def work() -> None: ...

    async with queue:
        await queue.schedules.add("first", work, every=3600)
        await queue.schedules.add("after", work, every=3600, depends_on=["first"])
        await queue.start_workers("default", 1)
        runs = [await queue.schedules.run_now("first") for _ in range(2)]
        for one in runs:
            await one.result(timeout=PATIENCE)
        assert 1 == await queue.cleanup_old_tasks(days=0)
        assert [runs[-1].id] == [one.id for one in await queue.get_tasks(schedule="first")]


async def test_a_cleanup_counts_what_it_did_not_hear_of(
    shared: PostgresHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retirement, "PORTION", 2)
    queue = with_work(shared.queue())
    ask = Connections.rows

    async def unheard(self: Connections, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        if statement == retirement.DELETE_OLD:  # it was committed, and asked once more
            await ask(self, statement, **values)
        return await ask(self, statement, **values)

    async with queue:
        await queue.start_workers("default", 1)
        await ended(queue, *[(await queue.enqueue("work")).id for _ in range(5)])
        await rows(queue, AGED)
        monkeypatch.setattr(Connections, "rows", unheard)
        assert 5 == await queue.cleanup_old_tasks(days=2)
        assert [] == await rows(queue, "select 1 from wopr.meta where key like 'retired by%%'")
        assert [5] == [act.changed for act in await queue.acts()]


async def test_a_start_that_a_rate_counts_stays_as_long(shared: PostgresHome) -> None:
    queue = with_work(shared.queue())
    async with queue:
        await queue.set_limit("default", rate="2/hour")
        await queue.start_workers("default", 1)
        handles = [await queue.enqueue("work") for _ in range(3)]
        await ended(queue, handles[0].id, handles[1].id)
        assert 0 == await queue.cleanup_old_tasks(days=0)
        assert "2 starts of" in (await queue.explain(handles[2].id)).text
        await rows(queue, "update wopr.tasks set started_at = started_at - interval '61 minutes'")
        assert 2 == await queue.cleanup_old_tasks(days=0)


def with_work(queue: TaskQueue) -> TaskQueue:
    @queue.task(name="work")
    async def work() -> int:
        return 1

    return queue
