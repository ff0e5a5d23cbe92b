"""A claim passes no task that is due later, and what has become due is claimed in its order."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from support.queues import PATIENCE, PostgresHome, ended
from wopr import TaskQueue
from wopr.domain.address import PostgresAddress
from wopr.fleet.parts import Parts
from wopr.fleet.promoting import Promoting
from wopr.storage.postgres import looks, statements, store
from wopr.storage.postgres.connections import Connections
from wopr.storage.postgres.promotion import EVERYTHING, Known, all_known
from wopr.storage.postgres.store import Store

NOW = datetime.now(UTC).replace(tzinfo=None)
PAST, LATER = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
FILL = """
insert into wopr.tasks (id, seq, version, name, category, priority, max_retries, args, kwargs,
    created_at, run_at)
select gen_random_uuid(), seq, seq, 'noop', 'default', priority, 3, '[]', '{}', 'now', run_at
from (select nextval('wopr.numbers') as seq, %(run_at)s::timestamp as run_at,
    %(priority)s::int + n %% %(priorities)s::int as priority
    from generate_series(1, %(count)s) as n) as made
"""
CLAIM: dict[str, Any] = {"category": "default", "names": ["noop"], "rules": "0", "now": NOW}
LOOK: dict[str, Any] = {"categories": ["default"], "now": NOW, "ids": [], "versions": []}
CANDIDATES: dict[str, Any] = {
    "names": ["noop"],
    "revoked": [],
    "looked_after": False,
    "priority": 1_000,
    "place": -(2**62),
    "most": 10,
} | {"category": "default", "now": NOW}


class Shared:
    """The tables of a queue, as hosts use them and as they are."""

    def __init__(self, home: PostgresHome, connections: Connections) -> None:
        address = PostgresAddress(home.address).conninfo
        self.store = Store(connections)
        self.sql = psycopg.connect(address, autocommit=True)
        self.sql.execute("update wopr.meta set value = '0' where key = 'rules'")
        values = {"host": "h", "pid": 1, "lease": 3_600}
        row = self.sql.execute(statements.REGISTER, values).fetchone()
        assert row is not None
        self.owner = int(row[0])

    def fill(
        self, count: int, run_at: datetime | None, priority: int = 2, priorities: int = 1
    ) -> None:
        """Add tasks as a host of the release before does."""
        values = {"run_at": run_at, "priority": priority, "priorities": priorities}
        self.sql.execute(FILL, {**values, "count": count})

    def passed(self, text: str, **values: Any) -> tuple[int, int]:
        """Return how many rows and pages of the tasks a statement reads in vain, and reads."""
        asked = f"explain (analyze, buffers, format json) {text}"
        self.sql.execute("begin")
        (plan,) = self.sql.execute(asked, values).fetchone() or ()
        self.sql.execute("rollback")
        said = json.dumps(plan)
        vain = sum(map(int, re.findall(r'"Rows Removed by Filter": (\d+)', said)))
        return vain, int(plan[0]["Plan"]["Shared Hit Blocks"])

    async def claim(
        self, count: int = 1, known: Known = EVERYTHING
    ) -> list[tuple[int, int]] | None:
        """Claim; return priorities and numbers, or nothing, if something is to be promoted."""
        workers = [f"w{n}" for n in range(count)]
        names = CLAIM["names"]
        claimed = await self.store.claim("default", names, workers, self.owner, "0", NOW, known)
        return claimed and [(record.priority, record.seq) for record, _ in claimed]


@pytest.fixture
async def tables(shared: PostgresHome) -> AsyncIterator[Shared]:
    """Return the tables of a new queue."""
    async with shared.queue() as queue:
        await queue.start_workers("other", 1)  # makes the tables
    connections = Connections(PostgresAddress(shared.address), 1, 10.0)
    await connections.open()
    found = Shared(shared, connections)
    try:
        yield found
    finally:
        found.sql.close()
        await connections.close()


async def test_no_statement_passes_what_is_due_later(tables: Shared) -> None:
    tables.fill(10_000, LATER, priority=4)
    tables.fill(20, None)
    tables.sql.execute("vacuum analyze wopr.tasks")
    claim = {**CLAIM, "workers": ["w"], "owner": tables.owner, "most": 1, **EVERYTHING.values()}
    asked = [(statements.CLAIM, claim), (looks.LOOK, LOOK), (statements.CANDIDATES, CANDIDATES)]
    for text, values in asked:
        vain, pages = tables.passed(text, **values)
        assert vain < 10, text
        assert pages < 120, text
    due, next_at = tables.sql.execute(looks.LOOK, LOOK).fetchall()[0][-2:]
    assert (True, LATER) == (due, next_at)


async def test_what_has_become_due_is_promoted_before_anything_is_claimed(tables: Shared) -> None:
    tables.fill(2, None)
    tables.fill(2, PAST, priority=3)
    tables.fill(1, LATER, priority=4)
    assert await tables.claim() is None
    known = await tables.store.promote("default", NOW)
    assert known == all_known(NOW)
    assert await tables.store.promote("default", NOW) is None
    claimed = await tables.claim(10)
    assert claimed is not None
    assert [3, 3, 2, 2] == [priority for priority, _ in claimed]


async def test_of_a_crowd_only_what_stands_in_the_order_is_claimed(
    tables: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST", 3)
    tables.fill(2, None, priority=3)
    tables.fill(10, PAST, priority=2, priorities=2)
    known = await tables.store.promote("default", NOW)
    assert known is not None
    claimed = await tables.claim(10, known)
    assert claimed is not None
    assert [3] * 5 == [priority for priority, _ in claimed]
    assert claimed == sorted(claimed, key=lambda one: (-one[0], one[1]))
    assert await tables.claim(10, known) == []
    assert await tables.claim(10, Known(PAST, 1, 0)) == []
    tables.fill(1, NOW)
    assert await tables.claim(10, Known(PAST, 1, 0)) is None


async def test_what_becomes_due_meanwhile_holds_no_claim_up(tables: Shared) -> None:
    tables.fill(50, NOW)
    seconds = "(seq - (select min(seq) from wopr.tasks)) * interval '1 second'"
    tables.sql.execute(f"update wopr.tasks set run_at = run_at + {seconds}")
    moments = (NOW + timedelta(seconds=9 + n) for n in range(50))  # one more is due at each look
    parts = SimpleNamespace(store=tables.store, now=lambda: next(moments), wake=pytest.fail)
    promoting = Promoting(cast(Parts, parts), lambda: tables.owner)
    claimed = [await promoting.claim("default", ["noop"], ["w"], "0") for _ in range(3)]
    numbers = [record.seq for entries in claimed for record, _ in entries]
    assert [0, 1, 2] == [number - numbers[0] for number in numbers]


async def test_a_task_that_another_host_delays_again_leaves_the_order(tables: Shared) -> None:
    tables.fill(1, PAST)
    assert await tables.store.promote("default", NOW) is not None
    tables.sql.execute("update wopr.tasks set run_at = %s", [LATER])
    assert [] == await tables.claim()
    due, next_at = tables.sql.execute(looks.LOOK, LOOK).fetchall()[0][-2:]
    assert (False, LATER) == (due, next_at)


async def ran(queue: TaskQueue, count: int) -> list[tuple[int, int]]:
    """Return priorities and numbers of the tasks, in the order in which they started."""
    rows = await queue.sql("select id::text from tasks where name = 'noop'")
    await ended(queue, *(row["id"] for row in rows))
    text = (
        "select priority, tasks.seq from tasks join transitions on task_id = id "
        "where name = 'noop' and to_status = 'started' order by transitions.seq"
    )
    found = [(row["priority"], row["seq"]) for row in await queue.sql(text)]
    assert count == len(found)
    return found


@pytest.mark.parametrize("limited", [False, True])
async def test_a_crowd_runs_in_its_order_among_the_others(
    tables: Shared, shared: PostgresHome, monkeypatch: pytest.MonkeyPatch, limited: bool
) -> None:
    monkeypatch.setattr(store, "MOST", 7)
    monkeypatch.setattr("wopr.fleet.claiming.MOST", 7)
    tables.fill(15, None, priority=2, priorities=2)
    tables.fill(40, PAST, priority=1, priorities=4)
    tables.fill(15, None, priority=2, priorities=2)
    async with shared.queue() as queue:

        @queue.task(name="noop")
        async def noop() -> None: ...

        if limited:
            await queue.set_limit("default", concurrency=1)
        await queue.start_workers("default", 1)
        found = await ran(queue, 70)
    assert found == sorted(found, key=lambda one: (-one[0], one[1]))


async def test_what_others_have_locked_is_done_without_until_it_is_free(
    tables: Shared, shared: PostgresHome
) -> None:
    tables.fill(1, PAST, priority=4)
    with psycopg.connect(PostgresAddress(shared.address).conninfo) as other:
        other.execute("select from wopr.tasks for update")
        async with shared.queue() as queue:

            @queue.task(name="noop")
            async def noop() -> None: ...

            await queue.start_workers("default", 1)
            await (await noop.enqueue()).result(timeout=PATIENCE)
            other.rollback()
            assert [2, 4] == [priority for priority, _ in await ran(queue, 2)]
