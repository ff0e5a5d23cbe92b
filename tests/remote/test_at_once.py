"""A new task of another process is begun, and its call answered, in as few turns as can be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from support.queues import NOON, PATIENCE
from support.wire import NEW, Wire, wire
from wopr import OnConflict, Settings, StorageError, TaskQueue
from wopr.domain.clock import IdFactory
from wopr.domain.newtask import NewTask
from wopr.engine.adding import Adding
from wopr.queue.queue import inside
from wopr.remote import connection
from wopr.remote.client import RemoteBackend
from wopr.remote.verbs import Verbs
from wopr.storage.duckdb.journal.inline import Inline
from wopr.storage.duckdb.journal.journal import Journal

Told = Callable[[BaseException | None], None]


@pytest_asyncio.fixture
async def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TaskQueue]:
    monkeypatch.setattr(Inline, "took", lambda *_: False)
    queue = TaskQueue(enabled=True, database=tmp_path / "queue.duckdb", settings=Settings())

    @queue.task
    async def double(number: int) -> int:
        return number * 2

    async with queue:
        await queue.get_task_stats()
        yield queue


@pytest_asyncio.fixture
async def remote(owner: TaskQueue) -> AsyncIterator[RemoteBackend]:
    backend = RemoteBackend(owner.database)
    assert await backend.connect()
    yield backend
    await backend.close()


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Note the verbs that were carried out in a task of their own."""
    found: list[object] = []
    carry_out = Verbs.carry_out

    async def noting(verbs: Verbs, name: object, params: object) -> Any:
        found.append(name)
        return await carry_out(verbs, name, params)

    monkeypatch.setattr(Verbs, "carry_out", noting)
    return found


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[Told]:
    """Let new tasks not get to the disk; give those who are to be told."""
    found: list[Told] = []

    def holding(adding: Adding, new: NewTask, told: Told, *, alone: bool) -> None:
        found.append(told)

    monkeypatch.setattr(Adding, "add_then", holding)
    return found


def new(number: int = 1, **more: Any) -> NewTask:
    return NewTask(
        **{
            "name": "double",
            "category": "default",
            "priority": 2,
            "max_retries": 0,
            "args": f"[{number}]",
            "kwargs": "{}",
            **more,
        }
    )


async def ids_of(client: Wire) -> IdFactory:
    return IdFactory((await client.ask("hello"))["ok"][2])


def call(ids: IdFactory, **more: Any) -> dict[str, Any]:
    return {**NEW, "id": ids.new(NOON.replace(tzinfo=None)), **more}


async def test_a_new_task_needs_no_task_of_the_loop(
    owner: TaskQueue, remote: RemoteBackend, long_way: list[object]
) -> None:
    ids = [await remote.add(new(number)) for number in range(3)]
    ids += await asyncio.gather(*(remote.add(new(number)) for number in range(40)))
    assert not long_way
    assert set(ids) == {task.id for task in await owner.get_tasks(limit=100)}
    await owner.start_workers("default", 2)
    assert 2 * 39 == (await owner.wait(ids[-1], timeout=PATIENCE)).result


async def test_what_has_to_wait_goes_the_long_way(
    owner: TaskQueue, remote: RemoteBackend, long_way: list[object]
) -> None:
    first = await remote.add(new(unique_key="one"))
    assert not long_way
    assert first == await remote.add(new(unique_key="one", on_conflict=OnConflict.SKIP))
    await remote.add(new(depends_on=(first,)))
    await remote.add(new(args=f'["{"x" * 70_000}"]'))
    await owner.set_limit("default", backlog=100)
    await remote.add(new())
    assert ["add"] * 4 == long_way
    assert 4 == (await owner.get_task_stats())["total"]


async def test_a_call_is_answered_however_its_bytes_arrive(owner: TaskQueue) -> None:
    async with wire(owner.database) as client:
        ids = await ids_of(client)
        client.send("stats")
        lines = [client.line("add", call(ids)), client.line("stats"), client.line("add", call(ids))]
        whole = b"".join(lines)
        for cut in (1, len(lines[0]) - 1, len(lines[0]), len(lines[0]) + 9, len(whole) - 1):
            client.writer.write(whole[:cut])
            await asyncio.sleep(0)
            client.writer.write(whole[cut:])
        answers = [await client.answer() for _ in range(1 + 5 * 3)]
    assert all("ok" in answer for answer in answers)
    assert 2 == (await owner.get_task_stats())["total"]  # the others are the same, once more


async def test_calls_of_one_turn_share_a_group_and_a_lone_one_is_written_at_once(
    owner: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    write = Journal._write

    def counting(journal: Journal, writes: Any) -> Any:
        groups.append(len(writes))
        return write(journal, writes)

    monkeypatch.setattr(Journal, "_write", counting)
    async with wire(owner.database) as client:
        ids = await ids_of(client)
        assert "ok" in await client.ask("add", call(ids))
        client.writer.write(b"".join(client.line("add", call(ids)) for _ in range(20)))
        for _ in range(20):
            assert "ok" in await client.answer()
    assert [1, 20] == [group for group in groups if group]


async def test_two_clients_in_one_turn_are_not_taken_for_one_caller(
    owner: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: list[bool] = []
    turns = owner.storage._turns
    ask = turns._alone
    monkeypatch.setattr(turns, "_alone", lambda: alone.append(ask()) or alone[-1])
    adding = inside(owner).access.local.engine.adding  # type: ignore[union-attr]
    told: list[BaseException | None] = []
    loop = asyncio.get_running_loop()
    for _ in range(2):  # as the callbacks of two sockets that are readable
        loop.call_soon(lambda: adding.add_then(new(id=None), told.append, alone=True))
    while len(told) < 2:
        await asyncio.sleep(0)
    assert [None, None] == told
    assert [True, False] == alone


async def test_what_the_disk_refuses_is_told(owner: TaskQueue, held: list[Told]) -> None:
    async with wire(owner.database) as client:
        ids = await ids_of(client)
        numbers = [client.send("add", call(ids)) for _ in range(2)]
        while len(held) < 2:
            await asyncio.sleep(0)
        held[0](StorageError("The disk refused the write."))
        held[1](None)
        refused, added = await client.answer(), await client.answer()
    assert (numbers[0], "StorageError") == (refused["id"], refused["error"]["type"])
    assert numbers[1] == added["id"]


async def test_a_closed_storage_is_told(
    owner: TaskQueue, monkeypatch: pytest.MonkeyPatch, long_way: list[object]
) -> None:
    def closed(*_: Any, **__: Any) -> None:
        raise StorageError("The task database is not open.")

    monkeypatch.setattr(Adding, "add_then", closed)
    async with wire(owner.database) as client:
        ids = await ids_of(client)
        assert "not open" in (await client.ask("add", call(ids)))["error"]["message"]
        assert "ok" in await client.ask("stats")
    assert ["hello", "stats"] == long_way


async def test_new_tasks_that_wait_for_the_disk_count_among_the_calls_under_way(
    owner: TaskQueue, held: list[Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MOST_REQUESTS", 5)
    async with wire(owner.database) as client:
        ids = await ids_of(client)
        numbers = [client.send("add", call(ids)) for _ in range(6)]
        refused = await client.answer()
        assert numbers[5] == refused["id"]
        assert "5 calls under way" in refused["error"]["message"]
        for told in held:
            told(None)
        assert set(numbers[:5]) == {(await client.answer())["id"] for _ in range(5)}


async def test_an_owner_that_leaves_answers_new_tasks_that_wait_for_the_disk(
    owner: TaskQueue, held: list[Told]
) -> None:
    async with wire(owner.database) as client:
        ids = await ids_of(client)
        number = client.send("add", call(ids))
        while not held:
            await asyncio.sleep(0)
        closing = asyncio.create_task(owner.shutdown())
        assert {"leaving": True} == await client.answer()
        late = client.send("add", call(ids))
        assert "OwnerLeavingError" == (await client.answer())["error"]["type"]
        client.writer.write(b'{"left": true}\n')
        held[0](None)
        answered = await client.answer()
        assert (number, {"id", "ok"}) == (answered["id"], answered.keys())
        assert late != number
        client.writer.close()
        await closing


async def test_calls_of_one_turn_are_sent_together_and_a_lone_one_at_once(
    owner: TaskQueue, remote: RemoteBackend
) -> None:
    sent: list[int] = []
    writer = remote._writer
    assert writer is not None
    write = writer.write

    def noting(data: bytes) -> None:
        sent.append(data.count(b"\n"))
        write(data)

    writer.write = noting  # type: ignore[method-assign]
    adding = asyncio.ensure_future(remote.add(new()))
    await asyncio.sleep(0)
    assert [1] == sent
    await adding
    await asyncio.gather(*(remote.add(new()) for _ in range(10)))
    assert [1, 1, 9] == sent
    await asyncio.gather(*(remote.add(new(args=f'["{"x" * 9_000}"]')) for _ in range(4)))
    assert [1] * 4 == sent[3:]


async def test_nothing_is_added_at_once_where_verbs_go_through_something_else(
    owner: TaskQueue, remote: RemoteBackend
) -> None:
    seen: list[str] = []
    local = inside(owner).access.local
    assert local is not None
    add = local.add

    async def noting(new: NewTask) -> str:
        seen.append(await add(new))
        return seen[-1]

    local.add = noting  # type: ignore[method-assign]
    assert seen == [await remote.add(new())]


NO_NUMBERS = [-1, True, False, 2**63, 2**200, 1.0, 1.5, "1", None, [1], {}]


@pytest.mark.parametrize("number", NO_NUMBERS, ids=repr)
async def test_an_id_that_is_no_number_is_refused_on_the_short_way_too(
    owner: TaskQueue, number: object
) -> None:
    """The first one is what leads there; that of the message is the last."""
    async with wire(owner.database) as client:
        asked = json.dumps({"id": number, "verb": "add", "params": [call(await ids_of(client))]})
        for line in (asked, f'{{"id": 7, "verb": "add", {asked[1:]}'):
            client.writer.write(line.encode() + b"\n")
            answer = await client.answer()
            assert "InvalidCallError" in str(answer["error"])
            assert answer["id"] is None
    assert 0 == (await owner.get_task_stats())["total"]


async def test_a_call_is_cancelled_by_its_number_only(owner: TaskQueue) -> None:
    task = await owner.enqueue("double", (1,))
    async with wire(owner.database) as client:
        client.writer.write(
            json.dumps({"id": 1, "verb": "wait", "params": [str(task.id), None]}).encode() + b"\n"
        )
        client.writer.write(b'{"cancel": true}\n')
        await owner.start_workers("default", 1)
        answer = await client.answer()
        assert (1, True) == (answer["id"], "ok" in answer)
