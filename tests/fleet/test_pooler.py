"""A queue behind a pooler that lends a connection to the server for one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.generators import fetch_many
from psycopg.pq import PipelineStatus, TransactionStatus

from support import poolers
from support.queues import PATIENCE, Gate, PostgresHome, until
from wopr import InvalidCallError, OnConflict, UniqueKeyConflictError
from wopr.domain.address import PostgresAddress

KEPT = b"""
select (select count(*) from pg_prepared_statements)
    + (select count(*) from pg_listening_channels())
    + (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())
"""
"""What a session keeps after a transaction."""


@pytest.fixture(params=["like one", *(["PgBouncer"] if poolers.program() else [])])
def pooled(
    shared: PostgresHome, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[PostgresHome]:
    """Return a database behind PgBouncer, or what is like it: nothing outlives a transaction.

    Not a setting, a prepared statement, a lock, nor a wish to listen.
    """
    if request.param == "PgBouncer":
        with poolers.pooler(shared.address) as address:
            yield PostgresHome(address)
        return
    wait = psycopg.AsyncConnection.wait
    kept = []

    async def fresh(self: Any, *args: Any, **options: Any) -> Any:
        free = TransactionStatus.IDLE == self.pgconn.transaction_status
        if free and PipelineStatus.OFF == self.pgconn.pipeline_status:
            self.pgconn.send_query(KEPT)  # by the loop, through which some connections go
            [found] = await wait(self, fetch_many(self.pgconn))
            kept.append(found.get_value(0, 0))
            self.pgconn.send_query(b"discard all")
            await wait(self, fetch_many(self.pgconn))
        return await wait(self, *args, **options)

    monkeypatch.setattr(psycopg.AsyncConnection, "wait", fresh)
    yield PostgresHome(f"{shared.address}&pooler=transaction")
    assert (True, {b"0"}) == (len(kept) > 100, set(kept))


async def test_all_goes_on_behind_a_pooler(pooled: PostgresHome) -> None:
    gate = Gate()
    first, second = pooled.queue(), pooled.queue()
    for queue in (first, second):

        @queue.task(name="echo")
        async def echo(number: int) -> int:
            return number

        @queue.task(name="hold", category="held")
        async def hold(number: int) -> int:
            await gate.wait(number)
            return number

        @queue.schedule(every={"seconds": 0.2}, name="tick")
        @queue.task(name="tick")
        async def tick() -> None:
            """Do nothing."""

    async with first, second:
        await first.set_limit("held", concurrency=1, backlog=10, on_full="refuse")
        await first.start_workers("default", 2)
        await first.start_workers("held", 2)
        await first.start_scheduler(0.05)
        sent = await second.enqueue("echo", (1,), unique_key="k", delay=0.2)
        with pytest.raises(UniqueKeyConflictError):
            await first.enqueue("echo", (2,), unique_key="k", on_conflict=OnConflict.RAISE)
        child = await second.enqueue("echo", (3,), depends_on=[sent])
        assert [1, 3] == [await one.result(timeout=PATIENCE) for one in (sent, child)]
        held = [await second.enqueue("hold", (number,)) for number in range(2)]
        await gate.arrivals(1)
        assert await held[0].cancel()
        gate.open()
        assert 1 == await held[1].result(timeout=PATIENCE)
        runs = "select count(*) from schedule_runs"
        await until(lambda: second.sql(runs), lambda found: bool(found.scalar()))
        await asyncio.gather(first.shutdown(timeout=0), second.shutdown(timeout=0))


def test_an_address_says_how_a_pooler_lends() -> None:
    address = PostgresAddress("postgresql+psycopg://a@/b?pooler=transaction&host=/c")
    assert ("postgresql://a@/b?host=/c", "transaction") == (address.conninfo, address.pooler)
    plain = PostgresAddress("postgresql://a@h/b?pooler=session")
    assert ("postgresql://a@h/b", "session") == (plain.conninfo, plain.pooler)
    assert PostgresAddress("postgresql://a@h/b?sslmode=require").pooler is None


async def test_another_word_for_it_is_refused() -> None:
    queue = PostgresHome("postgresql://a@127.0.0.1:1/b?pooler=statement").queue()
    with pytest.raises(InvalidCallError, match="pooler=transaction and pooler=session"):
        await queue.get_task_stats()
