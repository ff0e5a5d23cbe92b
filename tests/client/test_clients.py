"""Both clients against the API itself, over a socket."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from support.queues import PATIENCE
from support.restapp import rest_app, served
from wopr import (
    ActError,
    DuplicateScheduleError,
    InvalidCallError,
    PayloadTooLargeError,
    QueryError,
    ScheduleNotFoundError,
    ServerRefusedError,
    TaskCancelledError,
    TaskFailedError,
    TaskNotFoundError,
    TaskPriority,
    TaskQueue,
    TaskStatus,
    UniqueKeyConflictError,
)
from wopr.client import AsyncClient, Client, Notice
from wopr.web.guard.roles import Role

NOBODY = "0190a0a0-0000-7000-8000-000000000000"


async def test_a_task_is_enqueued_waited_for_and_looked_at(client: AsyncClient) -> None:
    id = await client.enqueue("add", [1], {"b": 5}, priority="high", tags=["x"])
    assert 6 == await client.result(id, timeout=PATIENCE)
    task = await client.get_task(id)
    assert (TaskStatus.SUCCESS, TaskPriority.HIGH, ("x",)) == (
        task.status,
        task.priority,
        task.tags,
    )
    assert task.completed_at is not None
    assert task.completed_at.tzinfo is not None
    assert [None, "pending", "started"] == [one.from_status for one in await client.get_history(id)]
    assert "ended" == (await client.explain(id)).reason
    assert [] == await client.get_logs(id)
    assert date(2030, 5, 17) == await client.result(await client.enqueue("day"), PATIENCE)


async def test_what_did_not_succeed_is_raised(client: AsyncClient) -> None:
    failed = await client.enqueue("break")
    with pytest.raises(TaskFailedError, match="it is broken"):
        await client.result(failed, timeout=PATIENCE)
    waits = await client.enqueue("on", [date(2030, 5, 17)])
    with pytest.raises(TimeoutError, match="It goes on"):
        await client.result(waits, timeout=0)
    done = await client.cancel_task(waits, reason="wrong day")
    assert ("cancel", "ada", 1) == (done.act.verb, done.act.who, done.act.changed)
    with pytest.raises(TaskCancelledError):
        await client.result(waits)
    with pytest.raises(ServerRefusedError, match="stays as it is") as stays:
        await client.cancel_task(waits)
    assert 409 == stays.value.status


async def test_problems_are_the_errors_that_a_queue_raises(client: AsyncClient) -> None:
    with pytest.raises(TaskNotFoundError):
        await client.get_task(NOBODY)
    with pytest.raises(InvalidCallError, match="int"):
        await client.enqueue("add", ["one"])
    with pytest.raises(InvalidCallError, match="nothing"):
        await client.enqueue("nothing")
    with pytest.raises(InvalidCallError, match="Nothing was sent"):
        await client.enqueue("add", [object()])
    with pytest.raises(PayloadTooLargeError):
        await client.enqueue("far", ["x" * 2**21], unchecked=True, category="far")
    await client.enqueue("on", [date(2030, 5, 17)], unique_key="one")
    with pytest.raises(UniqueKeyConflictError):
        await client.enqueue("on", [date(2030, 5, 17)], unique_key="one", on_conflict="raise")
    with pytest.raises(QueryError):
        await client.sql("select nothing from nowhere")
    with pytest.raises(ActError):
        await client.undo(77)
    with pytest.raises(ScheduleNotFoundError):
        await client.get_schedule("..")
    with pytest.raises(InvalidCallError, match="1 to 1,000"):
        await client.get_task("")


async def test_tasks_are_listed_page_by_page(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wopr.client.clients.PAGE", 2)
    day = date(2030, 5, 17)
    ids = await client.enqueue_many("on", [{"args": [day]} for _ in range(5)], tags=["many"])
    found = [one.id async for one in client.each_task(name="on", status=["pending", "retry"])]
    assert found == ids[::-1]
    assert [] == [one async for one in client.each_task(since=timedelta(0), tag="many")]
    later = datetime.now(UTC) + timedelta(hours=1)
    assert 5 == len([one async for one in client.each_task(until=later, tag="many")])
    would = await client.preview_act("cancel", {"name": "on"}, reason="all")
    assert (5, 5) == (would.selected, would.changes)
    done = await client.act("set-priority", {"ids": ids[:3]}, priority=TaskPriority.LOW)
    assert 3 == done.act.changed
    await client.undo(done.act.number)
    await client.act("delay", {"ids": ids[0]}, until=timedelta(days=1))
    verbs = [one.verb async for one in client.each_act()]
    assert ["delay", "undo", "set-priority"] == verbs


async def test_the_queue_is_looked_at_and_steered(client: AsyncClient) -> None:
    assert "sums" in (await client.stats()).by_category or not (await client.stats()).total
    assert "sums" == (await client.workers())[0].category
    assert (await client.status()).workers
    assert "add" in {one.name for one in await client.list_functions()}
    assert "properties" in str(await client.get_schema("add"))
    assert ["mail/a"] == [one.category for one in await client.pause_category("mail/a")]
    assert "mail/a" == (await client.list_pauses())[0].category
    assert await client.resume_category("mail/a")
    limit = await client.set_limit("sums", concurrency=3, rate="100/minute")
    assert (3, 100, 60.0) == (limit.concurrency, limit.rate, limit.per)
    assert (await client.set_limit("sums", rate=None)).rate is None
    assert [limit.category] == [one.category for one in await client.list_limits()]
    assert "sums" in {one.name for one in await client.list_categories()}
    assert await client.remove_limit("sums")
    assert 0 == await client.revoke("on", {"day": "2030-05-17"}, standing=True)
    assert {"day": "2030-05-17"} == (await client.list_revocations())[0].where
    assert await client.unrevoke("on", {"day": "2030-05-17"})
    assert "hour" == (await client.series(since=3600, name=["add"])).by
    assert "done" == (await client.eta(name="add")).reason
    assert (await client.past(0)).waiting == 0
    assert (await client.explain_group(category="sums")).reason


async def test_schedules_alerts_and_flows(client: AsyncClient) -> None:
    made = await client.add_schedule("nightly", "on", cron="0 3 * * *", args=["2030-05-17"])
    assert "on" == made.task
    with pytest.raises(DuplicateScheduleError):
        await client.add_schedule("nightly", "on", every=60, args=["2030-05-17"])
    changed = await client.change_schedule("nightly", every=timedelta(minutes=5))
    assert {"nightly"} == {one.name for one in await client.list_schedules()}
    assert "5 min" in changed.description
    assert 2 == len(await client.preview_schedule("nightly", n=2))
    assert "late" == (await client.pause_schedule("nightly", reason="late")).paused_reason
    assert (await client.resume_schedule("nightly")).paused_at is None
    assert "on" == (await client.get_task(await client.run_schedule("nightly"))).name
    await client.remove_schedule("nightly")
    alert = await client.set_alert("slow", when="slow", threshold=5)
    assert [alert] == await client.list_alerts()
    assert await client.remove_alert("slow")
    flow = await client.enqueue_flow(
        [
            {"key": "a", "name": "add", "args": [1]},
            {"key": "b", "name": "add", "results": {"a": "a"}},
        ]
    )
    assert 5 == await client.result(flow.ids["b"], timeout=PATIENCE)
    assert 2 == (await client.get_flow(flow.id)).progress.succeeded
    assert [flow.id] == [one.id for one in await client.list_flows()]
    assert 0 == await client.cancel_flow(flow.id)


async def test_sql_is_answered_whole_and_row_by_row(client: AsyncClient) -> None:
    found = await client.sql("select ? as a, 'x' as b", 7)
    assert (["a", "b"], [[7, "x"]], False) == (found.columns, found.rows, found.truncated)
    question = "select i, repeat('é]\"[,', 40) as t from range(3000) r(i)"
    async with client.stream_sql(question, limit=2500) as rows:
        assert (["i", "t"], True) == (rows.columns, rows.truncated)
        got = [row async for row in rows]
    assert [[i, 'é]"[,' * 40] for i in range(2500)] == got
    with pytest.raises(QueryError):
        async with client.stream_sql("delete from tasks"):
            pass


def used(client: Client) -> dict[str, Any]:
    """Use the client that blocks, in a thread."""
    with client:
        id = client.enqueue("add", [1], tags=["sync"])
        found: dict[str, Any] = {"result": client.result(id, timeout=PATIENCE)}
        found["listed"] = [one.id for one in client.each_task(tag="sync")] == [id]
        found["acts"] = list(client.each_act())
        with client.stream_sql("select i from range(3) r(i)") as rows:
            found["rows"] = list(rows)
        try:
            client.get_task(NOBODY)
        except TaskNotFoundError as error:
            found["error"] = str(error)
        events = client.events(after=0, name="add")
        seen = [next(events) for _ in range(4)]
        events.close()
        found["events"] = [
            one.kind if isinstance(one, Notice) else one.to_status.value for one in seen
        ]
    return found


async def test_the_client_that_blocks_does_the_same(blocking: Client) -> None:
    found = await asyncio.to_thread(used, blocking)
    assert NOBODY in found.pop("error")
    assert {
        "result": 3,
        "listed": True,
        "acts": [],
        "rows": [[0], [1], [2]],
        "events": ["begin", "pending", "started", "success"],
    } == found


async def test_who_may_not_is_told_so(queue: TaskQueue) -> None:
    async with served(rest_app(queue, Role.READ)) as url, AsyncClient(url) as client:
        assert 0 == (await client.stats()).total
        with pytest.raises(ServerRefusedError, match="operate") as refused:
            await client.enqueue("add", [1])
        assert 403 == refused.value.status
        with pytest.raises(ServerRefusedError, match="admin"):
            await client.list_tasks(where="true")
