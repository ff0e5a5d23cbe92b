"""The numbers of the last hour are those of the tables, and of very many tasks times are a part."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from support.pages import pages_of
from wopr import TaskQueue
from wopr.domain.clock import naive_now
from wopr.queue.queue import inside
from wopr.web.guard.roles import Caller, Role
from wopr.web.pages import flowing, workloads
from wopr.web.pages.asking import Ask
from wopr.web.pages.recent import Recent
from wopr.web.pages.workloads import BUCKETS, Workload

MANY, FEW = 300, 12
FILL = f"""
insert into tasks by name
select
    uuid() as id, kind as name, kind as category, '[]' as args, '{{}}' as kwargs,
    case when n % 10 = 0 then 'failed' else 'success' end as status,
    $1::timestamp - to_seconds(3000 - n) as created_at,
    $1::timestamp - to_seconds(3000 - n) + to_milliseconds(n * 7) as started_at,
    $1::timestamp - to_seconds(60 + n * 5) as completed_at,
    1 as attempt, 0 as retry_count, 0 as max_retries, 0 as crashes, 2 as priority,
    0.0 as progress, '' as progress_message, false as waiting, n / 8 as elapsed_seconds,
    n + kind_number * 100000 + 1 as seq, n + kind_number * 100000 + 1 as version
from (
    select 'many' as kind, 0 as kind_number, unnest(range({MANY})) as n
    union all
    select 'few', 1, unnest(range({FEW}))
)
"""
DIRECTLY = """
select
    category, count(*), count(*) filter (status = 'failed'),
    quantile_cont(epoch(started_at - created_at), 0.5),
    quantile_cont(epoch(started_at - created_at), 0.95), quantile_cont(elapsed_seconds, 0.95)
from tasks group by category
"""


@pytest_asyncio.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    async with TaskQueue(enabled=True, database=tmp_path / "q.duckdb") as found:
        now = naive_now(inside(found).clock)
        done = found.storage.in_writer(lambda one: one.execute(FILL, [now]).fetchall())
        done.result(20)
        yield found


def ask(queue: TaskQueue) -> Ask:
    return Ask(queue=queue, caller=Caller("ada", Role.READ), recent=Recent())


async def loads(queue: TaskQueue) -> dict[str, Workload]:
    return {one.name: one for one in await workloads.workloads(ask(queue))}


def told(load: Workload) -> tuple[Any, ...]:
    return load.ended, load.failed, load.wait_p50, load.wait_p95, load.run_p95


async def test_the_last_hour_is_what_the_tables_say(queue: TaskQueue) -> None:
    found = await loads(queue)
    for category, *numbers in (await queue.sql(DIRECTLY)).rows:
        assert told(found[category]) == pytest.approx(tuple(numbers), abs=1e-6)
        assert found[category].each == 1
        assert sum(found[category].series) == numbers[0]
    assert BUCKETS == len(found["many"].series)
    assert max(found["many"].series) <= 13  # a minute has twelve of them, five seconds apart
    async with pages_of(queue, Role.READ) as client:
        assert "those of one task in" not in (await client.get("/categories")).text


async def test_times_of_very_many_are_of_a_part_and_counts_of_all(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = await loads(queue)
    monkeypatch.setattr(workloads, "EXACT_UP_TO", 100)
    monkeypatch.setattr(workloads, "SAMPLED", 100)
    monkeypatch.setattr(workloads, "FEWEST_TIMED", 30)
    found = await loads(queue)
    assert told(found["few"]) == told(exact["few"])
    many, of = found["many"], exact["many"]
    assert (many.ended, many.failed, many.series) == (of.ended, of.failed, of.series)
    assert (3, 1) == (many.each, found["few"].each)
    assert many.run_p95 is not None
    assert of.run_p95 is not None
    assert 0 < abs(many.run_p95 - of.run_p95) < 0.1 * of.run_p95
    async with pages_of(queue, Role.READ) as client:
        for path in ("/categories", "/"):
            assert "those of one task in 3" in (await client.get(path)).text


async def test_what_ended_is_counted_whole_where_waits_are_of_a_part(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = naive_now(inside(queue).clock) + timedelta(seconds=1)
    exact, _ = await flowing.compared(queue, None, now)
    monkeypatch.setattr(flowing, "MOST_TIMED", 100)
    about, _ = await flowing.compared(queue, None, now)
    assert (MANY + FEW, 2 + 30) == (exact.ended, exact.failed)
    assert (about.ended, about.failed) == (exact.ended, exact.failed)
    assert about.wait_p95 is not None
    assert exact.wait_p95 is not None
    assert abs(about.wait_p95 - exact.wait_p95) < 0.15 * exact.wait_p95


async def test_how_long_a_category_of_few_waited_is_of_all_of_them_beside_one_of_many(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = naive_now(inside(queue).clock) + timedelta(seconds=1)
    exact, _ = await flowing.compared(queue, "few", now)
    assert FEW == exact.ended
    monkeypatch.setattr(flowing, "MOST_TIMED", FEW)
    about, _ = await flowing.compared(queue, "few", now)
    assert exact == about
