"""A client's calls end when the client says so, whatever has become of the owner."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from support.owners import client, end, start_owner, stopped
from support.queues import PATIENCE
from wopr import OwnerSilentError, Settings, TaskHandle, TaskQueue, TaskStatus

SOON = 0.4
"""Seconds that a call has in these tests, where none is answered."""
AT_ONCE = 20.0
"""What a call that does not wait for the owner is far below."""

Ask = Callable[[TaskQueue, str], Awaitable[object]]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "queue.duckdb"


@pytest.fixture
def owner(database: Path) -> Iterator[subprocess.Popen[str]]:
    process = start_owner(database)
    yield process
    end(process)


def patient(database: Path, seconds: float = SOON) -> TaskQueue:
    """Return a client that waits so long for its owner."""
    return client(database, settings=Settings(call_seconds=seconds, query_seconds=seconds))


async def test_a_result_is_not_waited_for_longer_than_asked_beside_a_stopped_owner(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    async with client(database) as queue, asyncio.timeout(AT_ONCE):
        held = await queue.enqueue("hold", (1,))
        with stopped(owner), pytest.raises(TimeoutError, match=f"Whether task {held.id}"):
            await held.result(timeout=SOON)
        assert await held.status() in (TaskStatus.PENDING, TaskStatus.STARTED)


async def test_nor_by_a_client_that_is_not_connected_yet(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    async with asyncio.timeout(AT_ONCE):
        with stopped(owner):
            queue = client(database)
            waits = [queue.wait(os.urandom(16).hex(), timeout=SOON) for _ in range(3)]
            answers = await asyncio.gather(*waits, return_exceptions=True)
            assert [OwnerSilentError] * 3 == [type(answer) for answer in answers]
        await queue.shutdown()


def test_nor_by_the_sync_face(database: Path, owner: subprocess.Popen[str]) -> None:
    queue = patient(database)
    with queue.sync() as sync:
        held = sync(queue.enqueue, "hold", (1,))
        with stopped(owner):
            with pytest.raises(OwnerSilentError, match="not known whether it was carried out"):
                sync(queue.enqueue, "double", (1,))
            with pytest.raises(TimeoutError, match=held.id):
                sync(held.result, timeout=SOON)


CHANGES: dict[str, Ask] = {
    "enqueue": lambda queue, _: queue.enqueue("double", (2,)),
    "cancel": lambda queue, task_id: queue.cancel_task(task_id),
    "retry": lambda queue, task_id: queue.retry_task(task_id),
    "pause": lambda queue, _: queue.pause("default"),
    "cleanup": lambda queue, _: queue.cleanup_old_tasks(days=1),
    "workers": lambda queue, _: queue.start_workers("default"),
}
LOOKS: dict[str, Ask] = {
    "info": lambda queue, task_id: queue.require_task_info(task_id),
    "stats": lambda queue, _: queue.get_task_stats(),
    "sql": lambda queue, _: queue.sql("select 1"),
    "result without end": lambda queue, task_id: queue.handle(task_id).result(),
}


@pytest.mark.parametrize("ask", CHANGES.values(), ids=CHANGES)
async def test_a_change_that_is_not_acknowledged_says_what_is_known(
    database: Path, owner: subprocess.Popen[str], ask: Ask
) -> None:
    async with patient(database) as queue:
        held = await queue.enqueue("hold", (1,))
        said = f"Process {owner.pid}.*sent and not acknowledged.*unique_key"
        with stopped(owner), pytest.raises(OwnerSilentError, match=said):
            await ask(queue, held.id)


@pytest.mark.parametrize("ask", LOOKS.values(), ids=LOOKS)
async def test_a_look_that_is_not_answered_may_be_repeated(
    database: Path, owner: subprocess.Popen[str], ask: Ask
) -> None:
    async with patient(database) as queue:
        held = await queue.enqueue("hold", (1,))
        with stopped(owner), pytest.raises(OwnerSilentError, match="ask again"):
            await ask(queue, held.id)


async def test_a_call_that_was_not_sent_to_its_end_comes_to_nothing(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    async with patient(database) as queue:
        await queue.get_task_stats()
        many = [("x" * 100_000,) for _ in range(20)]  # more than a socket takes
        with stopped(owner), pytest.raises(OwnerSilentError, match="nothing comes of it"):
            await queue.enqueue_ids("fail", many, {})
        assert 0 == (await queue.get_task_stats())["total"]


async def test_an_owner_that_goes_on_finds_its_clients_as_they_were(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    async with patient(database, PATIENCE) as queue:
        held = await queue.enqueue("hold", (1,))
        waiting = asyncio.create_task(held.result(timeout=PATIENCE))
        with stopped(owner):
            added = asyncio.create_task(queue.add_task("double", number=4))
            done, _ = await asyncio.wait([added, waiting], timeout=SOON)
            assert set() == done
        assert 8 == (await queue.wait(await added, timeout=PATIENCE)).result
        assert await held.cancel()
        with pytest.raises(Exception, match="was cancelled"):
            await waiting


async def test_a_wait_without_end_goes_on_for_as_long_as_the_owner_answers(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    async with patient(database) as queue:
        held: TaskHandle[int] = await queue.enqueue("hold", (1,))
        waiting = asyncio.create_task(held.result())
        done, _ = await asyncio.wait([waiting], timeout=3 * SOON)
        assert set() == done
        assert await held.cancel()
        with pytest.raises(Exception, match="was cancelled"):
            await waiting


async def test_a_client_closes_although_its_owner_takes_nothing_any_more(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    queue = patient(database, PATIENCE)
    await queue.get_task_stats()
    with stopped(owner):
        many = [("x" * 100_000,) for _ in range(20)]
        adding = asyncio.ensure_future(queue.enqueue_ids("fail", many, {}))
        done, _ = await asyncio.wait([adding], timeout=SOON)
        assert set() == done
        async with asyncio.timeout(AT_ONCE):
            await queue.shutdown()
            assert isinstance((await asyncio.gather(adding, return_exceptions=True))[0], Exception)
