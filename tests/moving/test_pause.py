"""Nothing begins while a queue leaves a server, however long its tables are in use."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest

from support.queues import PATIENCE, until
from wopr import TaskQueue
from wopr.domain.address import PostgresAddress, database_of
from wopr.moving import tofile
from wopr.moving.move import move
from wopr.storage.postgres.moving import locking, reading
from wopr.storage.postgres.moving.filling import connect

LEAVE_SECONDS = 1


async def test_what_waits_is_not_begun_while_a_transaction_of_others_holds_the_move_up(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = reading._LEAVING.replace(f"{reading.LEAVE_SECONDS} s", f"{LEAVE_SECONDS} s")
    assert short != reading._LEAVING
    monkeypatch.setattr(reading, "_LEAVING", short)
    monkeypatch.setattr(locking, "LOCK_SECONDS", 0.3)
    ran: Counter[int] = Counter()
    gate = asyncio.Event()
    queue = TaskQueue(enabled=True, database=address)

    @queue.task(name="count")
    async def count(number: int) -> None:
        ran[number] += 1
        if number:
            await gate.wait()

    async with queue:
        await queue.start_workers("default", 1)
        await (await count.enqueue(0)).result(timeout=PATIENCE)
        with psycopg.connect(PostgresAddress(address).conninfo) as other:
            waited = tofile.ToFile._wait_for_runs

            def wait(self: tofile.ToFile) -> None:  # the pause has begun
                waited(self)
                other.execute("lock table wopr.tasks in row exclusive mode")

            monkeypatch.setattr(tofile.ToFile, "_wait_for_runs", wait)
            there = database_of(address), tmp_path / "q.db"
            moving = asyncio.create_task(move(*there, queue.settings, grace=0.1))
            await until(lambda: leaving(address), bool)
            handles = [await count.enqueue(number) for number in (1, 2)]
            await asyncio.sleep(3 * LEAVE_SECONDS)  # without news, hosts claim again by then
            assert not moving.done()
        await moving
        assert [0] == list(ran)
        gate.set()
        for handle in handles:
            await handle.result(timeout=PATIENCE)
    assert {0: 1, 1: 1, 2: 1} == ran


async def leaving(address: str) -> Any:
    """Return whether a queue is about to leave a database."""
    connection = await psycopg.AsyncConnection.connect(PostgresAddress(address).conninfo)
    async with connection:
        found = await connection.execute("select from wopr.meta where key = 'leaving'")
        return await found.fetchall()


def test_the_connection_of_a_mover_breaks_where_the_other_machine_is_gone(address: str) -> None:
    given = f"{address}&tcp_user_timeout=3000"
    with contextlib.closing(connect(PostgresAddress(given))) as connection:
        said = connection.info.get_parameters()
    assert ("5", "3000") == (said["keepalives_idle"], said["tcp_user_timeout"])
