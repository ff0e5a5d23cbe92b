"""``wopr sql --together``: hot in PostgreSQL, cold in Parquet, one question."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from support.commands import Answer, call
from support.postgres import new_database
from support.queues import PostgresHome, ended
from wopr import Settings, TaskQueue
from wopr.service.capture import keep_logs
from wopr.storage.postgres import hot

COUNTS = """
select (select count(*) from tasks), (select count(*) from transitions),
    (select count(*) from history where name = 'work'), (select count(*) from task_times),
    (select count(*) from task_logs), (select max(length(result)) from tasks)
"""


@pytest_asyncio.fixture
async def queue(shared: PostgresHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TaskQueue:
    """Return a queue of which three tasks are archived and two are not; one of these waits."""
    monkeypatch.setenv("WOPR_TASKS_ARCHIVE", str(tmp_path / "old"))
    queue = shared.queue(settings=Settings(archive=tmp_path / "old"))

    @queue.task(name="work")
    async def work(text: str) -> str:
        return text

    stop = keep_logs(queue)
    try:
        async with queue:
            ids = await queue.enqueue_ids("work", [("old",)] * 3, {})
            await queue.start_workers("default", 2)
            await ended(queue, *ids)
            assert 3 == await queue.archive_old_tasks(days=0)
            late = await queue.enqueue_ids("work", [('x"\\,\n' * 30_000,)], {})
            await ended(queue, *late)
            await queue.enqueue_ids("work", [("later",)], {"delay": 3600})
    finally:
        stop()
    return queue


async def asked(home: PostgresHome, *words: str) -> Answer:
    return await asyncio.to_thread(call, "sql", *words, "-d", home.address)


def row(answer: Answer) -> list[Any]:
    assert 0 == answer.code, answer.err
    [found] = answer.json["rows"]
    return list(found.values())


async def test_one_question_has_all_of_both(queue: TaskQueue, shared: PostgresHome) -> None:
    both = row(await asked(shared, "--together", COUNTS, "--json"))
    assert [5, 13, 13, 5] == both[:4]
    assert both[5] > 100_000, "it is as it was"
    cold = row(await asked(shared, "--archived", COUNTS, "--json"))
    hot_alone = row(await asked(shared, "select count(*) from tasks", "--json"))
    assert (3, [2]) == (cold[0], hot_alone)
    assert "wopr sql --together" in (await asked(shared, "select 1")).err


async def test_what_is_in_both_counts_once(queue: TaskQueue, shared: PostgresHome) -> None:
    rows = "select count(*), count(distinct id), count(*) filter (status = 'pending') from tasks"
    assert [5, 5, 1] == row(await asked(shared, "--together", rows, "--json"))


async def test_what_is_older_is_left_out_of_both(queue: TaskQueue, shared: PostgresHome) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    answer = await asked(
        shared, "--together", "--since", f"{tomorrow}T00:00Z", COUNTS.strip(), "--json"
    )
    assert [0, 0, 0, 0, 0, None] == row(answer)
    assert f"on {tomorrow} (UTC) or later" in answer.err
    assert 5 == row(await asked(shared, "--together", "--since", "7d", COUNTS, "--json"))[0]


async def test_more_than_it_may_is_not_copied(
    queue: TaskQueue, shared: PostgresHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot, "MOST_BYTES", 2_000)
    answer = await asked(shared, "--together", "select 1")
    assert 0 != answer.code
    assert "--since 7d" in answer.err


async def test_it_reads_only(queue: TaskQueue, shared: PostgresHome) -> None:
    assert 0 != (await asked(shared, "--together", "delete from tasks")).code
    assert 0 != (await asked(shared, "--together", "select * from read_text('/etc/hosts')")).code


async def test_who_asks_what_it_can_not_is_told(
    queue: TaskQueue, shared: PostgresHome, tmp_path: Path
) -> None:
    assert "exclude" in (await asked(shared, "--together", "--archived", "select 1")).err
    assert "--since says" in (await asked(shared, "--since", "7d", "select 1")).err
    assert "--limit N" in (await asked(shared, "--together", "select 1", "--parquet")).err
    of_file = await asyncio.to_thread(call, "sql", "--together", "select 1", "-d", tmp_path / "a")
    assert "in any case" in of_file.err
    bare = new_database("bare")
    none = await asyncio.to_thread(call, "sql", "--together", "select 1", "-d", bare)
    assert "no tables" in none.err
    nobody = "postgresql://nobody@127.0.0.1:9/none"
    assert 3 == (await asyncio.to_thread(call, "sql", "--together", "select 1", "-d", nobody)).code
