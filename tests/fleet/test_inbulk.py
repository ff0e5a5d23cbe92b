"""Many new tasks are one transaction, whatever happens between the parts in which they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg
import pytest

from support.queues import PostgresHome
from wopr import TaskQueue
from wopr.domain.address import PostgresAddress
from wopr.domain.clock import IdFactory
from wopr.domain.task import TaskRecord
from wopr.queue.queue import inside
from wopr.storage.postgres import inbulk

COUNT = 1_000
IDS = IdFactory()


class Interrupted:
    """A connection to which something happens before the second statement."""

    def __init__(self, connection: Any, happens: Callable[[], None]) -> None:
        self._connection = connection
        self._happens = happens
        self.sent = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, statement: str, values: Any) -> Any:
        if self.sent == 1:
            self._happens()
        self.sent += 1
        return await self._connection.execute(statement, values)


def cancelled() -> None:
    raise asyncio.CancelledError


async def test_parts_grow_and_lose_nothing() -> None:
    records: list[Any] = list(range(COUNT))
    parts = list(inbulk.in_parts(records))
    assert [300, 700] == [len(part) for part in parts]
    assert records == [one for part in parts for one in part]


async def test_parts_of_a_call_are_in_its_order(shared: PostgresHome) -> None:
    async with shared.queue() as queue:
        ids = await noop(queue).enqueue_many([(n,) for n in range(COUNT)])
        rows = await queue.sql("select id::text as id, args from tasks order by seq")
        assert [task.id for task in ids] == [row["id"] for row in rows]
        assert [f"[{n}]" for n in range(COUNT)] == [row["args"] for row in rows]
        added = await queue.sql("select count(*), count(distinct task_id) from transitions")
        assert [(COUNT, COUNT)] == list(map(tuple, added.rows))


async def test_task_in_the_last_part_that_is_there_is_not_there_twice(
    shared: PostgresHome, caplog: pytest.LogCaptureFixture
) -> None:
    async with shared.queue() as queue:
        task = noop(queue)
        calls = [inside(queue).new_task(task.name, (n,), {}, {}) for n in range(COUNT)]
        known = [replace(one, id=f"019a0000-0000-7000-8000-{n:012}") for n, one in enumerate(calls)]
        backend = await inside(queue).access.backend()
        await backend.add(known[-1])
        assert [one.id for one in known] == await backend.add_many(known)
        assert COUNT == (await queue.sql("select count(*) from transitions")).scalar()
        assert [] == [one for one in caplog.records if one.name.startswith("psycopg")]


@pytest.mark.parametrize("how", ["cancelled", "cut"])
async def test_nothing_stays_of_what_is_interrupted_between_two_parts(
    shared: PostgresHome, how: str
) -> None:
    address = PostgresAddress(shared.address).conninfo
    async with shared.queue() as queue:
        await noop(queue).enqueue(0)
        records = new_records()
        connection = await psycopg.AsyncConnection.connect(address, autocommit=True)

        def cut() -> None:
            with psycopg.connect(address, autocommit=True) as other:
                pid = connection.info.backend_pid
                other.execute("select pg_terminate_backend(%s, 5000)", [pid])

        broken = Interrupted(connection, cancelled if how == "cancelled" else cut)
        with pytest.raises((asyncio.CancelledError, psycopg.Error)):
            await inbulk.add(broken, records, psycopg.Error)
        assert broken.sent >= 1, "the first part was sent"
        assert connection.closed
        assert 1 == (await queue.sql("select count(*) from tasks")).scalar()


async def test_a_statement_that_was_to_be_prepared_and_was_not_harms_no_later_call(
    shared: PostgresHome,
) -> None:
    async with shared.queue() as queue:
        for mixed in (False, False, True):  # the next one is prepared, behind another one
            assert COUNT == len(await queue.storage.add(new_records(mixed=mixed)))
        there = new_records(mixed=True)
        await queue.storage.add(there[:1])
        assert COUNT - 1 == len(await queue.storage.add(there))
        assert COUNT == len(await queue.storage.add(new_records()))


async def test_a_call_that_is_cancelled_when_all_was_sent_harms_no_later_one(
    shared: PostgresHome,
) -> None:
    address = PostgresAddress(shared.address).conninfo
    async with shared.queue():
        locked = await psycopg.AsyncConnection.connect(address)
        await locked.execute("lock table wopr.tasks in share mode")
        connection = await psycopg.AsyncConnection.connect(address, autocommit=True)
        adding = asyncio.create_task(inbulk.add(connection, new_records(), psycopg.Error))
        waiting = "select count(*) from pg_locks where not granted"
        while (await (await locked.execute(waiting)).fetchone()) == (0,):
            assert not adding.done()
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        await locked.close()
        assert connection.closed


def new_records(*, mixed: bool = False) -> list[TaskRecord]:
    """Return tasks that are sent as what is alike; or not the first part, if they are mixed."""
    now = datetime(2026, 1, 1)
    records = [
        TaskRecord(IDS.new(now), "noop", "default", 5, 0, "[0]", "{}", now) for _ in range(COUNT)
    ]
    if mixed:
        records[0].depends_on = "[]"
    return records


def noop(queue: TaskQueue) -> Any:
    @queue.task(name="noop")
    async def work(number: int) -> int:
        return number

    return work
