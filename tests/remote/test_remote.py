"""One process owns the file; others use the queue through its socket."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.owners import client, end, start_owner
from support.queues import PATIENCE, until, until_status
from wopr import (
    BacklogFullError,
    InvalidCallError,
    OnFull,
    QueryError,
    QueryTimeoutError,
    TaskFailedError,
    TaskNotFoundError,
    TaskStatus,
    UniqueKeyConflictError,
)
from wopr.config.settings import Settings
from wopr.domain.newtask import OnConflict
from wopr.remote import client as remote_client
from wopr.remote.protocol import socket_path


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


async def test_a_client_enqueues_and_gets_results(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    async with client(database) as queue:
        handle = await queue.enqueue("double", (21,))
        assert await handle.result(timeout=PATIENCE) == 42
        info = await handle.info()
        assert info.status is TaskStatus.SUCCESS
        assert info.args == (21,)
        assert info.created_at.tzinfo is UTC
        failed = await queue.enqueue("fail", ("three",))
        with pytest.raises(TaskFailedError, match="ValueError: three"):
            await failed.result(timeout=PATIENCE)
        ids = await queue.enqueue_ids("double", [(n,) for n in range(20)], {})
        assert [n * 2 for n in range(20)] == [
            (await queue.wait(task_id, timeout=PATIENCE)).result for task_id in ids
        ]


async def test_a_client_has_every_verb(database: Path, owner: subprocess.Popen[str]) -> None:
    async with client(database) as queue:
        held = await queue.enqueue("hold", (1,), unique_key="one")
        again = await queue.enqueue("hold", (2,), unique_key="one")
        assert again.id == held.id
        await until(held.info, lambda info: info.progress == 50)
        with pytest.raises(UniqueKeyConflictError):
            await queue.enqueue("hold", (3,), unique_key="one", on_conflict=OnConflict.RAISE)
        explanation = await queue.explain(held.id)
        assert explanation.reason == "running"
        later = await queue.enqueue("double", (1,), delay=3600)
        assert (await queue.explain(later.id)).reason == "delayed"
        assert await later.cancel()
        assert not await later.cancel()
        assert await held.cancel()
        history = await queue.get_history(held.id)
        assert [None, TaskStatus.PENDING, TaskStatus.STARTED] == [h.from_status for h in history]
        assert history[0].occurred_at <= datetime.now(UTC)
        failed = await queue.enqueue("fail", ("x",))
        assert (await queue.wait(failed.id, timeout=PATIENCE)).status is TaskStatus.FAILED
        assert await queue.retry_task(failed.id)
        await queue.wait(failed.id, timeout=PATIENCE)
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


async def test_what_a_client_types_is_asked_of_a_copy_in_a_process_of_its_own(
    database: Path, owner: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WOPR_TASKS_QUERY_SECONDS", "1")
    async with client(database) as queue:
        held = await queue.enqueue("hold", (1,))
        rows = await queue.typed_sql("select count(*) from tasks where id = ?", held.id)
        assert rows.scalar() == 1
        assert rows.moment is not None
        bad = asyncio.create_task(queue.typed_sql("select length(lpad('x', 600000000, 'y'))"))
        while not bad.done():
            assert (await queue.sql("select count(*) from tasks")).scalar() == 1
        with pytest.raises(QueryError):
            await bad
        assert await held.cancel()


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


async def test_a_client_takes_over_when_the_owner_was_killed(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    async with client(database) as queue:
        held = await queue.enqueue("hold", (7,))
        await until_status(queue, held.id, TaskStatus.STARTED)
        owner.send_signal(signal.SIGKILL)
        owner.wait(timeout=PATIENCE)
        assert await queue.cancel_task(held.id)
        info = await held.info()
        assert info.status is TaskStatus.CANCELLED
        assert info.crashes == 1


async def test_a_client_reconnects_to_a_new_owner(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    queue = client(database)
    async with queue:
        await queue.enqueue("double", (1,))
        owner.send_signal(signal.SIGKILL)
        owner.wait(timeout=PATIENCE)
        second = start_owner(database)
        try:
            handle = await queue.enqueue("double", (3,))
            assert await handle.result(timeout=PATIENCE) == 6
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
            assert await handle.result(timeout=PATIENCE) == 8
    finally:
        end(process)


async def test_garbage_on_the_socket_harms_nobody(
    database: Path, owner: subprocess.Popen[str]
) -> None:
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
        assert b"error" in await asyncio.wait_for(reader.readline(), PATIENCE)
        writer.close()
        await writer.wait_closed()
    async with client(database) as queue:
        handle = await queue.enqueue("double", (5,))
        assert await handle.result(timeout=PATIENCE) == 10


async def test_limits_pauses_and_revocations_are_those_of_the_owner(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    queue = client(database)
    async with queue:
        limit = await queue.set_limit("default", key="number", concurrency=1)
        assert await queue.limits() == [limit]
        first, second = [await queue.add_task("hold", number=3) for _ in range(2)]
        await until_status(queue, first, TaskStatus.STARTED)
        explained = await queue.explain(second)
        assert explained.reason == "limited"
        assert "1 of at most 1" in explained.text
        assert await queue.remove_limit("default", "number")
        await queue.pause("default", reason="for a while")
        waits = await queue.add_task("double", number=1)
        assert (await queue.explain(waits)).reason == "paused"
        assert [pause.reason for pause in await queue.pauses()] == ["for a while"]
        assert await queue.revoke(task="hold", where={"number": 3}) == 2
        assert await queue.resume("default")
        assert (await queue.wait(waits, timeout=PATIENCE)).result == 2
        with pytest.raises(InvalidCallError, match="not registered"):
            await queue.add_task("elsewhere")
        workers = await queue.worker_info()
        assert [worker.category for worker in workers] == ["default"] * 4
        assert all(worker.heartbeat_at.tzinfo is not None for worker in workers)
        assert await queue.get_logs(waits) == []


async def test_a_bulk_of_several_calls_is_refused_as_a_whole(
    database: Path, owner: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_client, "BULK", 10)
    async with client(database) as queue:
        await queue.pause("default")
        await queue.set_limit("default", backlog=25, on_full=OnFull.REFUSE)
        with pytest.raises(BacklogFullError, match="30 more were refused; nothing was written"):
            await queue.enqueue_ids("double", [(n,) for n in range(30)], {})
        assert (await queue.get_task_stats())["total"] == 0
        assert len(await queue.enqueue_ids("double", [(n,) for n in range(25)], {})) == 25


async def test_changes_that_two_clients_make_to_one_limit_both_count(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    async with client(database) as one, client(database) as other:
        await asyncio.gather(
            one.set_limit("default", concurrency=3), other.set_limit("default", rate="1/s")
        )
        [limit] = await one.limits()
        assert (limit.concurrency, limit.rate, limit.per) == (3, 1, 1.0)
        await asyncio.gather(
            one.set_limit("default", concurrency=None), other.set_limit("default", rate=None)
        )
        assert await other.limits() == []


async def test_an_owner_that_works_on_nothing_gives_the_file_to_a_worker(database: Path) -> None:
    async with client(database) as web:
        waits = await web.add_task("double", number=4)
        result = asyncio.create_task(web.wait(waits, timeout=PATIENCE))
        owner = await asyncio.to_thread(start_owner, database)  # it starts workers
        try:
            assert (await result).result == 8  # who waited goes on at the new owner
            again = await web.add_task("double", number=5)
            assert (await web.wait(again, timeout=PATIENCE)).result == 10
        finally:
            await asyncio.to_thread(end, owner)
        assert (await web.get_task_stats())["total"] == 2  # nobody else has it now


async def test_an_owner_with_workers_keeps_the_file(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    queue = client(database)
    async with queue:
        await queue.start_workers("default", 1)
        assert queue.workers == {}
        assert (
            await queue.wait(await queue.add_task("double", number=1), timeout=PATIENCE)
        ).result == 2


async def test_reads_go_on_when_the_owner_dies(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    queue = client(database)
    async with queue:
        held = await queue.add_task("hold", number=1)
        waiting = asyncio.create_task(queue.wait(held, timeout=PATIENCE))
        await until_status(queue, held, TaskStatus.STARTED)
        owner.kill()
        await asyncio.to_thread(owner.wait)
        assert (await queue.require_task_info(held)).status is TaskStatus.PENDING
        assert await queue.cancel_task(held)
        assert (await waiting).status is TaskStatus.CANCELLED


async def test_the_limits_of_a_query_are_those_of_the_process_that_asks(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    few = Settings(query_rows=3)
    async with client(database, settings=few) as queue:
        cut = await queue.sql("select * from range(10)")
        assert (3, True) == (len(cut), cut.truncated)
    soon = Settings(query_seconds=0.2)
    async with client(database, settings=soon) as queue:
        with pytest.raises(QueryTimeoutError, match=r"longer than 0\.2 s"):
            await queue.sql("select count(*) from range(100000000) a, range(1000000) b")
    many = Settings(query_rows=150_000)
    async with client(database, settings=many) as queue:
        whole = await queue.sql("select * from range(120000)")
        assert (120_000, False) == (len(whole), whole.truncated)
