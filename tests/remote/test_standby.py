"""Workers run in whichever process owns the file; the others stand by."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.owners import client, end, start_owner
from support.queues import PATIENCE, until
from wopr import StorageOwnedError, TaskQueue
from wopr.remote.connection import Connection
from wopr.remote.lines import Lines
from wopr.remote.server import _first
from wopr.storage.duckdb.file import signature
from wopr.storage.duckdb.file.lock import FileLock


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "queue.duckdb"


@pytest.fixture
def owner(database: Path) -> Iterator[subprocess.Popen[str]]:
    process = start_owner(database)
    yield process
    if process.poll() is None:
        end(process)
    elif process.stdin is not None and process.stdout is not None:
        process.stdin.close()
        process.stdout.close()


def worker(database: Path) -> TaskQueue:
    """Return a queue whose task runs where its workers are: here."""
    queue = TaskQueue(enabled=True, database=database)

    @queue.task
    async def double(number: int) -> int:
        return number * 2

    return queue


async def slots(queue: TaskQueue, count: int) -> None:
    """Return once so many workers run in this process."""

    async def here() -> int:
        await asyncio.sleep(0.01)
        return sum(map(len, queue.workers.values()))

    await until(here, lambda seen: seen == count)


@pytest.mark.parametrize("how", ["killed", "ended"])
async def test_workers_that_are_started_beside_an_owner_run_here_when_it_goes(
    database: Path, owner: subprocess.Popen[str], how: str
) -> None:
    async with worker(database) as queue:
        await queue.start_workers("default", 2)
        await queue.start_workers("mail", 1)
        assert queue.workers == {}
        assert await (await queue.enqueue("double", (1,))).result(timeout=PATIENCE) == 2
        if how == "killed":
            owner.kill()
        else:
            await asyncio.to_thread(end, owner)
        await slots(queue, 3)
        assert {name: len(found) for name, found in queue.workers.items()} == {
            "default": 2,
            "mail": 1,
        }
        assert await (await queue.enqueue("double", (21,))).result(timeout=PATIENCE) == 42


async def test_a_queue_that_is_shut_down_stands_by_no_more(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    queue = worker(database)
    await queue.start_workers("default", 2)
    await queue.shutdown()
    async with queue:
        owner.kill()
        await asyncio.to_thread(owner.wait)
        assert (await queue.get_task_stats())["total"] == 0
        assert queue.workers == {}


async def test_a_process_that_waits_for_the_file_takes_it_before_it_is_asked_for_anything(
    database: Path,
) -> None:
    """It is the receiver: the owner that stops names it."""
    owner = await asyncio.to_thread(start_owner, database)
    async with client(database) as queue:
        await queue.get_task_stats()
        await asyncio.to_thread(end, owner)

        async def owned() -> bool:
            await asyncio.sleep(0.01)
            return signature.signature_of(database).pid is not None

        await until(owned, bool)
        await until(lambda: _opens(database), lambda error: "This process" in error)


async def _opens(database: Path) -> str:
    lock = FileLock(database)
    try:
        lock.acquire()
    except StorageOwnedError as error:
        return str(error)
    lock.release()
    return ""


def test_the_file_is_left_to_the_receiver_and_nobody_overtakes(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = FileLock(database)
    lock.acquire()
    signature.sign_coming(database, coming=True, receiver=1)
    lock.release()
    assert signature.signature_of(database).reserved == 1
    with pytest.raises(StorageOwnedError, match="process 1, which is opening it"):
        lock.acquire()
    monkeypatch.setattr(signature, "RESERVED_SECONDS", 0.0)  # it did not come
    lock.acquire()
    lock.release()
    lock.acquire()  # nothing of it is left
    lock.release()


def test_what_is_left_to_this_process_it_can_lock(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = FileLock(database)
    lock.acquire()
    signature.sign_coming(database, coming=True, receiver=1)
    lock.release()
    monkeypatch.setattr("wopr.storage.duckdb.file.lock.os.getpid", lambda: 1)
    lock.acquire()
    lock.release()


def _connection(*, asked: int, greeted: bool = True, gone: bool = False) -> Connection:
    found = Connection(Lines(), None, 7, lambda _: None, asyncio.Lock())  # type: ignore[arg-type, return-value]
    found.waits_since, found.greeted, found.gone = asked, greeted, gone
    return found


async def test_who_asked_first_for_workers_comes_before_the_oldest_client() -> None:
    oldest, second, first = (_connection(asked=number) for number in (0, 2, 1))
    assert _first([oldest, second, first]) is first
    assert _first([oldest, second]) is second
    assert _first([oldest, _connection(asked=0)]) is oldest
    assert _first([_connection(asked=1, gone=True), oldest]) is oldest
    assert _first([_connection(asked=0, greeted=False), oldest]) is oldest
    assert _first([_connection(asked=0, greeted=False)]) is None
