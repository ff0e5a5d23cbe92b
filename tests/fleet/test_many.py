"""What is asked again and again reads no table as a whole, however many tasks have ended before."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from support.queues import PostgresHome
from wopr import TaskStatus
from wopr.domain.address import PostgresAddress
from wopr.domain.selection import Selection
from wopr.ports.storage import TaskFilter
from wopr.storage.postgres import looks, statements
from wopr.storage.postgres.connections import Connections
from wopr.storage.postgres.promotion import EVERYTHING
from wopr.storage.postgres.selecting import SelectStore
from wopr.storage.postgres.store import Store

FILL = """
insert into wopr.tasks (id, seq, version, name, category, priority, status, attempt, max_retries,
    args, kwargs, created_at, started_at, completed_at)
select md5(n::text)::uuid, n, n, 'noop', 'default', 5, case when ended then 'success'
    else 'pending' end, ended::int, 3, '[]', '{}', 'now', case when ended then now() end,
    case when ended then now() end
from (select n, n <= 6000 as ended from generate_series(1, 9000) as n) as made
"""
NOW = datetime.now(UTC).replace(tzinfo=None)
OFTEN: dict[str, tuple[str, dict[str, Any]]] = {
    "look": (looks.LOOK, {"categories": ["default"], "now": NOW, "ids": [], "versions": []}),
    "look around": (
        looks.LOOK_AROUND,
        {"categories": ["default"], "now": NOW, "lease": 15, "owner": 1},
    ),
    "claim": (
        statements.CLAIM,
        {"category": "default", "names": ["noop"], "workers": ["one"], "owner": 1, "rules": "0"}
        | {"now": NOW, "most": 1}
        | EVERYTHING.values(),
    ),
}


@pytest.fixture
async def full(shared: PostgresHome) -> PostgresHome:
    """Return a queue where many tasks wait behind twice as many that have ended."""
    async with shared.queue() as queue:
        await queue.get_task_stats()  # makes the tables
    with psycopg.connect(PostgresAddress(shared.address).conninfo, autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute("analyze wopr.tasks")
    return shared


def plan_of(home: PostgresHome, text: str, values: dict[str, Any]) -> str:
    """Return how the server would go about a statement."""
    with psycopg.connect(PostgresAddress(home.address).conninfo, autocommit=True) as connection:
        rows = connection.execute(f"explain (costs off) {text}", values).fetchall()
    return "\n".join(row for (row,) in rows)


@pytest.mark.parametrize("what", OFTEN)
async def test_what_hosts_ask_again_and_again_goes_by_indexes(
    full: PostgresHome, what: str
) -> None:
    plan = plan_of(full, *OFTEN[what])
    assert "Index" in plan
    assert "Seq Scan on tasks" not in plan


async def test_pages_of_a_status_do_not_read_all_others(full: PostgresHome) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    class Listened(Connections):
        async def rows(self, statement: str, /, **values: Any) -> list[tuple[Any, ...]]:
            asked.append((statement, values))
            return await super().rows(statement, **values)

    connections = Listened(PostgresAddress(full.address), 1, 10.0)
    await connections.open()
    try:
        store = Store(connections)
        for status in (TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.RETRY):
            assert [] == await store.find(TaskFilter(status=status))
            which = Selection(status=(status,))
            assert [] == await SelectStore(store).selected(which, 50, None, 5.0)
        done = await store.find(TaskFilter(status=TaskStatus.SUCCESS, limit=2))
        which = Selection(status=(TaskStatus.SUCCESS,))
        for page in (done, await SelectStore(store).selected(which, 2, None, 5.0)):
            assert [6000, 5999] == [one.seq for one in page]
        waiting = await store.find(TaskFilter(status=TaskStatus.PENDING, limit=2))
        assert [9000, 8999] == [one.seq for one in waiting]
    finally:
        await connections.close()
    assert 9 == len(asked)
    for text, values in asked[:6]:
        assert "tasks_seldom" in plan_of(full, text, values)
    for text, values in asked[6:8]:
        assert "tasks_succeeded" in plan_of(full, text, values)
