"""A call that is repeated with its id is the same task, whoever has the file by then."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from support.owners import client, end, start_owner
from support.queues import NOON, PATIENCE, until_status
from support.wire import NEW, wire
from wopr import OwnerLeavingError, TaskQueue, TaskStatus
from wopr.domain.clock import IdFactory, new_stem
from wopr.domain.newtask import NewTask
from wopr.queue.queue import inside
from wopr.remote.client import RemoteBackend

STRANGER = "01a22aa9-97f1-7000-ba65-baa6dfd45833"
OTHER = "01a22aa9-97f1-7001-ba65-baa6dfd45833"


@pytest_asyncio.fixture
async def owner(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    queue = TaskQueue(enabled=True, database=tmp_path / "queue.duckdb")

    @queue.task
    async def double(number: int) -> int:
        return number * 2

    async with queue:
        yield queue


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start an owner in a process of its own."""
    process = start_owner(tmp_path / "queue.duckdb")
    yield process
    if process.poll() is None:
        end(process)
    elif process.stdin is not None and process.stdout is not None:
        process.stdin.close()
        process.stdout.close()


def call(task_id: str | None, args: str = "[1]", **more: Any) -> dict[str, Any]:
    return {**NEW, "id": task_id, "args": args, **more}


async def total(queue: TaskQueue) -> int:
    return int((await queue.get_task_stats())["total"])


async def test_a_call_that_is_repeated_with_its_id_is_the_same_task(owner: TaskQueue) -> None:
    async with wire(owner.database) as first, wire(owner.database) as second:
        one = await first.ask("add", call(STRANGER))
        assert one["ok"] == STRANGER
        assert (await second.ask("add", call(STRANGER)))["ok"] == STRANGER
        both = await second.ask("add_many", [call(STRANGER), call(OTHER)])
        assert both["ok"] == [STRANGER, OTHER]
    assert await total(owner) == 2


async def test_it_is_also_when_it_has_ended_long_ago(owner: TaskQueue) -> None:
    await owner.start_workers()
    async with wire(owner.database) as client:
        await client.ask("add", call(STRANGER))
        assert (await owner.wait(STRANGER, timeout=PATIENCE)).result == 2
        assert (await client.ask("add", call(STRANGER)))["ok"] == STRANGER
    assert await total(owner) == 1


@pytest.mark.parametrize("other", [{"args": "[2]"}, {"kwargs": '{"a":1}'}, {"name": "triple"}])
async def test_the_same_id_with_another_call_is_refused(
    owner: TaskQueue, other: dict[str, str]
) -> None:
    async with wire(owner.database) as client:
        await client.ask("add", call(STRANGER))
        for verb, message in (
            ("add", call(STRANGER) | other),
            ("add_many", [call(OTHER), call(STRANGER) | other]),
            ("add_flow", [call(OTHER), call(STRANGER) | other]),
        ):
            error = (await client.ask(verb, message))["error"]
            assert error["type"] == "InvalidCallError"
            assert "is another call" in error["message"]
    assert await total(owner) == 1


@pytest.mark.parametrize("verb", ["add_many", "add_flow"])
async def test_an_id_that_stands_twice_in_one_message_is_refused(
    owner: TaskQueue, verb: str
) -> None:
    async with wire(owner.database) as client:
        answer = await client.ask(verb, [call(STRANGER), call(STRANGER)])
        assert "the same id" in answer["error"]["message"]
    assert await total(owner) == 0


async def test_messages_with_one_id_that_come_at_once_are_one_task(owner: TaskQueue) -> None:
    async with wire(owner.database) as client:
        stem = (await client.ask("hello"))["ok"][2]
        fresh = STRANGER[:24] + stem
        for number in range(20):
            client.send(*(("add", call(fresh)) if number % 2 else ("add_many", [call(fresh)])))
        answers = [(await client.answer())["ok"] for _ in range(20)]
    assert {answer if isinstance(answer, str) else answer[0] for answer in answers} == {fresh}
    assert await total(owner) == 1


async def test_a_flow_that_is_repeated_is_there_once(owner: TaskQueue) -> None:
    flow = [call(STRANGER), call(OTHER, depends_on=[0])]
    async with wire(owner.database) as client:
        assert (await client.ask("add_flow", flow))["ok"] == [STRANGER, OTHER]
        assert (await client.ask("add_flow", flow))["ok"] == [STRANGER, OTHER]
    assert await total(owner) == 2


@pytest.mark.parametrize(
    "wrong",
    ["", "1", STRANGER.upper(), STRANGER.replace("7000", "4000"), f"{STRANGER}\n", 7],
)
async def test_an_id_that_no_client_makes_is_refused(owner: TaskQueue, wrong: Any) -> None:
    async with wire(owner.database) as client:
        assert "error" in await client.ask("add", call(wrong))
    assert await total(owner) == 0


async def test_nothing_is_looked_up_for_calls_that_are_new(
    owner: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any) -> Any:
        raise AssertionError("a new call costs no read")

    backend = RemoteBackend(owner.database)
    assert await backend.connect()
    monkeypatch.setattr(owner.storage, "get_many", never)
    news = [_new(number) for number in range(100)]
    await asyncio.gather(*map(backend.add, news))
    await backend.add_many([_new(number) for number in range(100)])
    await backend.close()
    assert await total(owner) == 200


def _new(number: int) -> NewTask:
    return NewTask(
        name="double",
        category="default",
        priority=2,
        max_retries=0,
        args=f"[{number}]",
        kwargs="{}",
    )


def test_ids_of_one_stem_increase_and_end_with_it() -> None:
    stem = new_stem()
    ids = IdFactory(stem)
    now = NOON.replace(tzinfo=None)
    made = [ids.new(now) for _ in range(10_000)]
    assert sorted(made) == made
    assert len(set(made)) == 10_000
    assert {one[24:] for one in made} == {stem}


async def test_a_client_whose_owner_was_killed_tells_its_caller_what_became_of_the_call(
    tmp_path: Path, apart: subprocess.Popen[str]
) -> None:
    async with client(tmp_path / "queue.duckdb") as queue:
        held = await queue.enqueue("hold", (7,))
        await until_status(queue, held.id, TaskStatus.STARTED)
        apart.send_signal(signal.SIGSTOP)  # so that the calls are sent, and not answered
        calls = [asyncio.create_task(queue.enqueue("double", (n,))) for n in range(20)]
        changes = [
            asyncio.create_task(queue.cancel_task(held.id)),
            asyncio.create_task(queue.pause("mail")),
        ]
        await asyncio.sleep(0)
        apart.kill()
        added = await asyncio.gather(*calls)
        assert await asyncio.gather(*changes) == [True, None]
        assert len({handle.id for handle in added}) == 20
        assert await total(queue) == 21
        assert await held.status() is TaskStatus.CANCELLED


async def test_a_change_that_the_dead_owner_had_made_is_not_denied(owner: TaskQueue) -> None:
    handle = await owner.enqueue("double", (1,))

    async def next_owner(seconds: float | None, verb: str, params: tuple[Any, ...]) -> Any:
        return await inside(owner).access._ask_next(seconds, verb, params)

    backend = RemoteBackend(owner.database, elsewhere=next_owner)
    assert await backend.connect()
    assert backend._writer is not None
    backend._writer.transport.pause_reading()  # type: ignore[attr-defined]
    asked = asyncio.create_task(backend.cancel(handle.id))
    await until_status(owner, handle.id, TaskStatus.CANCELLED)
    backend._writer.transport.abort()
    assert await asked
    await backend.close()


async def test_who_gives_the_file_up_refuses_what_it_did_not_begin(owner: TaskQueue) -> None:
    async with wire(owner.database) as client:
        await client.ask("hello")
        await client.ask("add", call(OTHER))
        waits = client.send("wait", OTHER, None)
        leaving = asyncio.create_task(owner.shutdown())
        answers = {}
        while "leaving" not in (answer := await client.answer()):
            answers[answer["id"]] = answer
        late = client.send("add", call(STRANGER))
        client.writer.write(b'{"left": true}\n')
        while not {late, waits} <= answers.keys():
            answer = await client.answer()
            answers[answer["id"]] = answer
        await leaving
    for number in (waits, late):
        assert answers[number]["error"]["type"] == "OwnerLeavingError"
    assert await total(owner) == 1


async def test_a_call_that_is_not_sent_is_known_not_to_be_done(owner: TaskQueue) -> None:
    backend = RemoteBackend(owner.database)
    assert await backend.connect()
    await owner.shutdown()
    await backend.ended.wait()
    with pytest.raises(OwnerLeavingError, match="not sent"):
        await backend.add(_new(1))
    await backend.close()


async def test_a_client_that_reads_nothing_holds_up_no_end(owner: TaskQueue) -> None:
    async with wire(owner.database) as client:
        await client.ask("hello")
        client.listen(on=False)
        async with asyncio.timeout(PATIENCE):
            await owner.shutdown()
