"""Cleaning up many tasks beside work that goes on."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.queues import DuckDBHome, ended, running
from support.records import NOW
from wopr.storage.duckdb import cleanup, storage


async def test_a_long_cleanup_goes_in_batches_between_which_others_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "BATCH", 10)
    queue = DuckDBHome(tmp_path / "tasks.duckdb").queue()
    batches: list[int] = []
    added_after: list[int] = []

    def counted(connection: Any, before: datetime) -> list[str]:
        ids = cleanup.doomed(connection, before)
        batches.append(len(ids))
        return ids

    monkeypatch.setattr(storage, "doomed", counted)

    @queue.task(name="work", category="c")
    async def work() -> None: ...

    async def go_on() -> None:
        while not batches:
            await asyncio.sleep(0)
        await work.options(category="later").enqueue()
        added_after.append(len(batches))

    async with running(queue, c=2):
        handles = await work.enqueue_many([()] * 35)
        await ended(queue, *(handle.id for handle in handles))
        deleted, _ = await asyncio.gather(queue.cleanup_old_tasks(days=0), go_on())
        assert 1 == (await queue.get_task_stats())["total"]
    assert (35, [10, 10, 10, 5, 0]) == (deleted, batches)
    assert added_after[0] < len(batches)


ODD = (
    None,
    "{}",
    'no JSON, but "retain"',
    '{"retain": "x"}',
    '{"retain": null}',
    '{"retain": -1}',
    '{"retain": 1e300}',
    '{"tags": ["\\"retain\\": 1"], "results": {"kwargs": {"retain": 1}}}',
    '{"retain": 7200}',
)


def test_only_what_says_how_long_it_is_kept_is_over_and_nothing_odd_is() -> None:
    connection = duckdb.connect()
    connection.execute(
        "create table tasks (id uuid, seq bigint, status varchar, completed_at timestamp, "
        "options varchar, depends_on varchar, category varchar, schedule varchar)"
    )
    connection.execute("create table schedules (depends_on varchar)")
    for options in (*ODD, '{"tags": ["x"], "retain": 60}'):
        connection.execute(
            "insert into tasks "
            "select uuid(), count(*), 'success', ?, ?, null, 'c', null from tasks",
            [NOW, options],
        )
    [(kept,)] = connection.execute(
        "select id::varchar from tasks order by seq desc limit 1"
    ).fetchall()
    found = cleanup.over(connection, NOW + timedelta(hours=1))
    assert ([kept], NOW, NOW + timedelta(hours=2)) == found
    assert len(ODD) == len(cleanup.doomed(connection, NOW + timedelta(hours=1)))
    assert len(ODD) + 1 == len(cleanup.doomed(connection, NOW + timedelta(hours=2)))
