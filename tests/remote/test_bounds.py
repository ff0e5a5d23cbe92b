"""What one client can cost the owner, and what becomes of what it gives up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from support.queues import PATIENCE, until
from support.wire import ALL, NEW, Wire, wire
from wopr import OwnerBusyError, PayloadTooLargeError, Settings, TaskQueue
from wopr.domain.newtask import NewTask
from wopr.ports.storage import QueryLimits, TaskFilter
from wopr.queue.queue import inside
from wopr.remote import client as client_module
from wopr.remote import connection, protocol, server, verbs
from wopr.remote.client import RemoteBackend


@pytest_asyncio.fixture
async def owner(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    queue = TaskQueue(enabled=True, database=tmp_path / "queue.duckdb", settings=Settings())

    @queue.task(name="double")
    async def double(text: str) -> int:
        return 2 * len(text)

    async with queue:
        yield queue


@pytest_asyncio.fixture
async def remote(owner: TaskQueue) -> AsyncIterator[RemoteBackend]:
    await owner.get_task_stats()
    await owner.enqueue("double", ("x",))
    backend = RemoteBackend(owner.database)
    assert await backend.connect()
    yield backend
    await backend.close()


def tasks(count: int, size: int) -> list[NewTask]:
    text = "x" * size
    return [
        NewTask(
            name="double",
            category="default",
            priority=2,
            max_retries=0,
            args=f'["{text}"]',
            kwargs="{}",
        )
        for _ in range(count)
    ]


async def turns(owner: TaskQueue) -> None:
    """Let the owner do what it will: each of these goes through it and back."""
    async with wire(owner.database) as other:
        for _ in range(50):
            assert "ok" in await other.ask("stats")


async def test_large_answers_are_made_a_few_at_a_time_while_the_client_does_not_read(
    owner: TaskQueue,
) -> None:
    await owner.enqueue_ids("double", [("x" * 1_000,) for _ in range(500)], {})
    local = inside(owner).access.local
    assert local is not None
    asked = 0
    find = local.find

    async def counted(query: TaskFilter, cursor: str | None) -> Any:
        nonlocal asked
        asked += 1
        return await find(query, cursor)

    local.find = counted  # type: ignore[method-assign]
    async with wire(owner.database) as client:
        await client.ask("hello")  # who does not say that goes after a while, which may be over
        client.listen(on=False)
        for _ in range(100):
            client.send("find", {**ALL, "limit": 500}, None)
        await until(lambda: turns(owner), lambda _: asked > 0)
        await turns(owner)
        assert asked <= 2 * connection.ANSWERS
        client.listen(on=True)
        answers = [await client.answer() for _ in range(100)]
        assert {500} == {len(answer["ok"]) for answer in answers}
        assert set(range(2, 102)) == {answer["id"] for answer in answers}


async def test_waits_whose_results_are_not_read_are_answered_in_the_end(owner: TaskQueue) -> None:
    ids = await owner.enqueue_ids("double", [("x" * 100_000,) for _ in range(60)], {})
    async with wire(owner.database) as client:
        client.listen(on=False)
        for task_id in ids:
            client.send("wait", task_id, None)
        await owner.start_workers("default", 4)
        for task_id in ids:
            await owner.wait(task_id, timeout=PATIENCE)
        await turns(owner)
        client.listen(on=True)
        answers = [await client.answer() for _ in ids]
        assert set(ids) == {answer["ok"]["value"][0] for answer in answers}


async def test_calls_beyond_the_most_are_refused_and_the_others_go_on(
    owner: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MOST_REQUESTS", 5)
    handle = await owner.enqueue("double", ("xx",))
    async with wire(owner.database) as client:
        numbers = [client.send("wait", handle.id, None) for _ in range(6)]
        refused = await client.answer()
        assert refused["id"] == numbers[5]
        assert refused["error"]["type"] == "StorageError"
        assert "5 calls under way" in refused["error"]["message"]
        await owner.start_workers("default", 1)
        assert set(numbers[:5]) == {(await client.answer())["id"] for _ in range(5)}
        assert "ok" in await client.ask("hello")


async def test_requests_are_not_read_while_those_under_way_have_too_many_bytes(
    owner: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MOST_REQUEST_BYTES", 10_000)
    await owner.set_limit("default", backlog=1)
    await owner.enqueue("double", ("x",))
    async with wire(owner.database) as client:
        client.send("add", {**NEW, "args": f'["{"x" * 20_000}"]'})  # waits for room
        number = client.send("hello")
        await turns(owner)
        await owner.start_workers("default", 1)
        answers = [await client.answer() for _ in range(2)]
        assert number == answers[1]["id"]


async def test_a_connection_too_many_is_refused_by_name(
    owner: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 2)
    await owner.enqueue("double", ("x",))
    first, second, third = (RemoteBackend(owner.database) for _ in range(3))
    assert await first.connect()
    assert await second.connect()
    with pytest.raises(OwnerBusyError, match="has 2 connections"):
        await third.connect()
    assert not third.open
    await first.close()
    assert (await second.stats())["total"] == 1
    await until(third.connect, bool)
    await second.close()
    await third.close()


async def test_a_wait_that_a_client_gives_up_ends_in_the_owner(
    owner: TaskQueue, remote: RemoteBackend
) -> None:
    engine = inside(owner).access.engine
    assert engine is not None
    [task] = await owner.get_tasks()
    waits = [asyncio.create_task(remote.wait(task.id, None)) for _ in range(100)]
    await until(remote.stats, lambda _: len(engine.shared.waiters.get(task.id, ())) == 100)
    for wait in waits[1:]:
        wait.cancel()
    await asyncio.gather(*waits[1:], return_exceptions=True)
    await until(remote.stats, lambda _: len(engine.shared.waiters[task.id]) == 1)
    await owner.start_workers("default", 1)
    assert (await waits[0]).id == task.id


@pytest.mark.parametrize("number", [None, "x", -1, 99, True, [], {}])
async def test_giving_up_what_is_not_under_way_is_nothing(owner: TaskQueue, number: Any) -> None:
    await owner.enqueue("double", ("x",))
    async with wire(owner.database) as client:
        client.writer.write(protocol.encode({"cancel": number}))
        assert "ok" in await client.ask("hello")


async def test_a_bulk_is_cut_by_bytes(
    owner: TaskQueue, remote: RemoteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "BULK_BYTES", 5_000)
    monkeypatch.setattr(protocol, "LONGEST_LINE", 10_000)
    ids = await remote.add_many(tasks(50, 1_000))
    assert len(set(ids)) == 50
    stored = [task.id for task in await owner.get_tasks(limit=50)]
    assert ids == stored[::-1]


async def test_a_flow_that_is_too_large_is_refused_by_its_own_limit(
    owner: TaskQueue, remote: RemoteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LONGEST_LINE", 10_000)
    with pytest.raises(PayloadTooLargeError, match=r"10,000 bytes.*Tasks of a flow are one commit"):
        await remote.add_flow(tasks(50, 1_000))
    assert (await owner.get_task_stats())["total"] == 1
    assert len(await remote.add_flow(tasks(2, 1_000))) == 2


async def test_an_answer_that_is_too_large_says_what_to_ask_for(
    remote: RemoteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LONGEST_LINE", 10_000)
    with pytest.raises(PayloadTooLargeError, match="fewer rows or columns"):
        await remote.sql("select repeat('x', 20000)", [], QueryLimits())


async def test_a_long_list_comes_in_pages_of_bytes(
    owner: TaskQueue, remote: RemoteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (client_module, verbs):
        monkeypatch.setattr(module, "PAGE_BYTES", 5_000)
    monkeypatch.setattr(protocol, "LONGEST_LINE", 20_000)
    ids = await owner.enqueue_ids("double", [("x" * 1_000,) for _ in range(50)], {})
    newest = ids[::-1]
    for limit, offset, cursor in ((50, 0, None), (17, 0, None), (20, 7, None), (20, 0, newest[4])):
        found = await remote.find(TaskFilter(limit=limit, offset=offset), cursor)
        first = offset if cursor is None else newest.index(cursor) + 1
        assert newest[first : first + limit] == [record.id for record in found]
    assert len(await remote.find(TaskFilter(limit=1_000), None)) == 51


async def test_an_argument_over_the_limit_of_the_owner_is_refused_by_its_setting(
    owner: TaskQueue,
) -> None:
    await owner.enqueue("double", ("x",))
    async with wire(owner.database) as client:
        answer = await client.ask("add", {**NEW, "args": f'["{"x" * 300_000}"]'})
        assert "WOPR_TASKS_MAX_ARGS_BYTES" in answer["error"]["message"]


async def test_a_client_that_hangs_up_in_the_middle_of_a_line_is_forgotten(
    owner: TaskQueue,
) -> None:
    await owner.enqueue("double", ("x",))
    async with wire(owner.database) as client:
        client.writer.write(b'{"id": 1, "verb": "st')
        await client.writer.drain()
    async with wire(owner.database) as other:
        assert isinstance(other, Wire)
        assert (await other.ask("stats"))["ok"]["total"] == 1
