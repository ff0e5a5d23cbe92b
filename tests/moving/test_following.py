"""Who uses a queue all the while goes on at its new home: nothing is lost, nothing runs twice."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from fleet.callers import CALLERS, psycopg_async
from support.moving import until_count
from support.postgres import new_database
from support.queues import PATIENCE, until
from wopr import QueueMovedError, Settings, StorageError, TaskQueue
from wopr.domain.address import PostgresAddress, database_of
from wopr.domain.moving import MOVED, Moving
from wopr.moving.move import move
from wopr.storage.postgres.caller import CallersTransaction
from wopr.storage.postgres.moving.marks import guards

CLIENT = Path(__file__).with_name("client.py")


@contextlib.asynccontextmanager
async def client(database: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """Let another process enqueue, for a ``with`` block at most."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CLIENT), str(database), stdin=pipe, stdout=pipe
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.parametrize("to_server", [True, False], ids=["to a server", "to a file"])
async def test_it_is_used_all_the_while(tmp_path: Path, address: str, to_server: bool) -> None:
    file = str(tmp_path / "tasks.duckdb")
    source, target = (file, address) if to_server else (address, file)
    queue = TaskQueue(enabled=True, database=source)
    ran: Counter[int] = Counter()

    @queue.task(name="count", max_retries=0)
    async def count(number: int) -> None:
        ran[number] += 1

    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(queue)
        stack.push_async_callback(queue.shutdown, timeout=0)
        await queue.start_workers("default", 2)
        process = await stack.enter_async_context(client(source))
        await until_count(ran, 20)
        moved = await move(database_of(source), database_of(target), Settings(), grace=5)
        assert (file if not to_server else PostgresAddress(address).named) == moved.target
        await until_count(ran, len(ran) + 20)
        out, _ = await asyncio.wait_for(process.communicate(b""), PATIENCE)
        await until_count(ran, int(out))
        await until(queue.get_task_stats, lambda seen: seen["by_status"].get("success") == int(out))
    assert dict.fromkeys(range(int(out)), 1) == ran


async def test_who_can_not_follow_yet_is_where_it_was_and_follows_later(
    tmp_path: Path, address: str
) -> None:
    file, server = tmp_path / "q.db", PostgresAddress(address)
    async with TaskQueue(enabled=True, database=file) as queue:
        await queue.get_task_stats()
    await move(file, server, Settings())
    queue = TaskQueue(enabled=True, database=file)

    @queue.task(name="say")
    async def say(word: str) -> str:
        return word

    other = new_database(f"other_{uuid4().hex[:12]}")
    with psycopg.connect(PostgresAddress(other).conninfo, autocommit=True) as connection:
        name = server.conninfo.partition("?")[0].rpartition("/")[2]
        connection.execute(f"alter database {name} rename to {name}_away")
        for _ in range(2):
            with pytest.raises(QueueMovedError, match="could not follow"):
                await say.enqueue("a")
            assert file == queue.database
        connection.execute(f"alter database {name}_away rename to {name}")
    async with queue:
        await say.enqueue("a")
        assert file != queue.database
        assert 1 == (await queue.get_task_stats())["total"]


@pytest.mark.parametrize("kind", CALLERS)
async def test_a_transaction_of_an_application_is_told_where_the_queue_is(
    address: str, kind: str
) -> None:
    async with TaskQueue(enabled=True, database=address) as queue:
        await queue.get_task_stats()
    place, change = PostgresAddress(address), "delete from wopr.tasks"
    async with psycopg_async(address) as old, CALLERS[kind](address) as caller:
        await old.execute("set transaction isolation level repeatable read")
        await old.execute("select 1")
        with psycopg.connect(place.conninfo) as mover:
            there = Moving("1", place.named, "/srv/tasks.duckdb", "host").text()
            mover.execute("insert into wopr.meta (key, value) values (%s, %s)", [MOVED, there])
            for statement in guards():
                mover.execute(statement)
        with pytest.raises(QueueMovedError, match=r"has moved to /srv/tasks\.duckdb"):
            await CallersTransaction(place, caller.connection).execute(change)
        with pytest.raises(StorageError, match=r"moved away from .* Begin it anew"):
            await CallersTransaction(place, old.connection).execute(change)
