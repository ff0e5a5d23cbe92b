"""One process owns the file; others use the queue through its socket."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from wopr import (
    InvalidCallError,
    QueryError,
    StorageError,
    StorageOwnedError,
    TaskFailedError,
    TaskNotFoundError,
    TaskQueue,
    TaskStatus,
    UniqueKeyConflictError,
)
from wopr.domain.newtask import OnConflict
from wopr.remote.protocol import socket_path

OWNER = Path(__file__).with_name("owner.py")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "queue.duckdb"


def start_owner(database: Path) -> subprocess.Popen[str]:
    owner = subprocess.Popen(
        [sys.executable, str(OWNER), str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    return owner


def end(owner: subprocess.Popen[str]) -> None:
    assert owner.stdin is not None
    assert owner.stdout is not None
    owner.stdin.close()
    owner.wait(timeout=20)
    owner.stdout.close()


@pytest.fixture
def owner(database: Path) -> Iterator[subprocess.Popen[str]]:
    process = start_owner(database)
    yield process
    if process.poll() is None:
        end(process)
    elif process.stdin is not None and process.stdout is not None:
        process.stdin.close()
        process.stdout.close()


def client(database: Path) -> TaskQueue:
    queue = TaskQueue(enabled=True, database=database)

    @queue.task
    async def double(number: int) -> int:
        raise AssertionError("runs in the owner, not here")

    @queue.task
    async def hold(number: int) -> int:
        raise AssertionError("runs in the owner, not here")

    @queue.task
    async def fail(text: str) -> None:
        raise AssertionError("runs in the owner, not here")

    return queue


async def test_a_client_enqueues_and_gets_results(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    async with client(database) as queue:
        handle = await queue.enqueue("double", (21,))
        assert await handle.result(timeout=10) == 42
        info = await handle.info()
        assert info.status is TaskStatus.SUCCESS
        assert info.args == (21,)
        assert info.created_at.tzinfo is UTC
        failed = await queue.enqueue("fail", ("three",))
        with pytest.raises(TaskFailedError, match="ValueError: three"):
            await failed.result(timeout=10)
        ids = await queue.enqueue_ids("double", [(n,) for n in range(20)], {})
        assert [n * 2 for n in range(20)] == [
            (await queue.wait(task_id, timeout=10)).result for task_id in ids
        ]


async def test_a_client_has_every_verb(database: Path, owner: subprocess.Popen[str]) -> None:
    async with client(database) as queue:
        held = await queue.enqueue("hold", (1,), unique_key="one")
        again = await queue.enqueue("hold", (2,), unique_key="one")
        assert again.id == held.id
        with pytest.raises(UniqueKeyConflictError):
            await queue.enqueue("hold", (3,), unique_key="one", on_conflict=OnConflict.RAISE)
        explanation = await queue.explain(held.id)
        assert explanation.reason == "running"
        assert (await held.info()).progress == 50
        later = await queue.enqueue("double", (1,), delay=3600)
        assert (await queue.explain(later.id)).reason == "delayed"
        assert await later.cancel()
        assert not await later.cancel()
        assert await held.cancel()
        history = await queue.get_history(held.id)
        assert [None, TaskStatus.PENDING, TaskStatus.STARTED] == [h.from_status for h in history]
        assert history[0].occurred_at <= datetime.now(UTC)
        failed = await queue.enqueue("fail", ("x",))
        assert (await queue.wait(failed.id, timeout=10)).status is TaskStatus.FAILED
        assert await queue.retry_task(failed.id)
        await queue.wait(failed.id, timeout=10)
        assert (await queue.get_task_stats())["by_status"] == {"cancelled": 2, "failed": 1}
        page = await queue.get_tasks(limit=1)
        assert [failed.id] == [task.id for task in page]
        rest = await queue.get_tasks(cursor=failed.id)
        assert {later.id, held.id} == {task.id for task in rest}
        rows = await queue.sql(
            "select count(*) n, max(created_at) newest from tasks where id <> ?", later.id
        )
        assert rows[0]["n"] == 2
        assert isinstance(rows[0]["newest"], datetime)
        assert await queue.recover_tasks() == 0
        assert await queue.cleanup_old_tasks(days=0) == 3


async def test_errors_arrive_with_their_type(database: Path, owner: subprocess.Popen[str]) -> None:
    async with client(database) as queue:
        with pytest.raises(QueryError, match="DELETE"):
            await queue.sql("delete from tasks")
        with pytest.raises(TaskNotFoundError):
            await queue.wait("00000000-0000-7000-8000-000000000000", timeout=1)
        with pytest.raises(InvalidCallError):
            await queue.enqueue("double", ("no number",))
        held = await queue.enqueue("hold", (1,))
        with pytest.raises(TimeoutError, match=held.id):
            await held.result(timeout=0.05)


async def test_workers_belong_to_the_owner(database: Path, owner: subprocess.Popen[str]) -> None:
    async with client(database) as queue:
        with pytest.raises(StorageOwnedError, match=str(owner.pid)) as caught:
            await queue.start_workers("default", 1)
        assert caught.value.pid == owner.pid


async def test_a_client_takes_over_when_the_owner_was_killed(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    async with client(database) as queue:
        held = await queue.enqueue("hold", (7,))
        owner.send_signal(signal.SIGKILL)
        owner.wait(timeout=10)
        with pytest.raises(StorageError, match="not known whether"):
            await queue.wait(held.id)
        assert await queue.get_task_stats()
        info = await held.info()
        assert info.status is TaskStatus.PENDING
        assert info.crashes == 1


async def test_a_client_reconnects_to_a_new_owner(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    queue = client(database)
    async with queue:
        await queue.enqueue("double", (1,))
        owner.send_signal(signal.SIGKILL)
        owner.wait(timeout=10)
        second = start_owner(database)
        try:
            with pytest.raises(StorageError, match="not known whether"):
                await queue.enqueue("double", (2,))
            handle = await queue.enqueue("double", (3,))
            assert await handle.result(timeout=10) == 6
        finally:
            await queue.shutdown()
            end(second)


async def test_the_socket_is_private_and_goes_with_the_owner(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    path = socket_path(database)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    end(owner)
    assert not os.path.exists(path)


async def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    database = deep / "queue.duckdb"
    assert len(socket_path(database)) < 100
    process = start_owner(database)
    try:
        async with client(database) as queue:
            handle = await queue.enqueue("double", (4,))
            assert await handle.result(timeout=10) == 8
    finally:
        end(process)


async def test_garbage_on_the_socket_harms_nobody(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    import asyncio

    for garbage in (
        b"\n",
        b"{}\n",
        b"not json\n",
        b'{"id":1,"verb":"__class__","params":[]}\n',
        b'{"id":1,"verb":"add","params":[{"name":1}]}\n',
        b"\xff\xfe\n",
    ):
        reader, writer = await asyncio.open_unix_connection(socket_path(database))
        writer.write(garbage)
        await writer.drain()
        assert b"error" in await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        await writer.wait_closed()
    async with client(database) as queue:
        handle = await queue.enqueue("double", (5,))
        assert await handle.result(timeout=10) == 10
