"""Rows that somebody else wrote and that can't be read: left out by name, never in the way."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.queues import PATIENCE
from wopr import PayloadError, StorageError, TaskQueue, TaskStatus, group
from wopr.calls.snapshots import left_out
from wopr.config.settings import Settings
from wopr.storage.duckdb import aside
from wopr.storage.duckdb.doctor import check

FAULTS = {
    "options that are a list": ("options = '[]'", "options must be a JSON object"),
    "options that are no JSON": ("options = 'x'", "options must be a JSON object"),
    "tags that are no texts": ("""options = '{"tags": [1]}'""", "the tags in its options are [1]"),
    "an unknown status": ("status = 'bogus'", "its status is 'bogus'"),
    "a priority of nobody": ("priority = 7", "its priority is 7"),
    "attempts without an end": ("attempt = 2147483647", "attempt is 2147483647"),
    "crashes less than none": ("crashes = -1", "crashes is -1"),
    "a date after all": ("run_at = '20000-01-01'", "run_at is '20000-01-01 00:00:00'"),
    "a date before all": ("created_at = '0044-03-15 (BC)'", "created_at is '0044-03-15 (BC)"),
    "parents that are no ids": ("depends_on = '[1]'", "depends_on is '[1]'"),
    "parents that are no JSON": ("depends_on = 'x'", "depends_on must be a JSON array"),
}


@pytest.fixture(autouse=True)
def nothing_said_yet() -> None:
    aside.set_aside.cache_clear()


def queue_of(path: Path, **settings: Any) -> TaskQueue:
    queue = TaskQueue(enabled=True, database=path, settings=Settings(**settings))

    @queue.task
    async def double(number: int) -> int:
        return number * 2

    return queue


async def three_tasks(path: Path) -> list[str]:
    async with queue_of(path) as queue:
        return await queue.enqueue_ids("double", [(n,) for n in range(3)], {})


def write(path: Path, sql: str, *params: object) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(sql, params)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_row_that_cannot_be_read_is_left_out_and_named(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "queue.duckdb"
    first, bad, last = await three_tasks(path)
    change, why = FAULTS[fault]
    write(path, f"update tasks set {change} where id = ?", bad)
    async with queue_of(path) as queue:
        assert {first, last} == {info.id for info in await queue.get_tasks()}
        await queue.start_workers("default", 2)
        for task_id, result in ((first, 0), (last, 4)):
            assert result == (await queue.wait(task_id, timeout=PATIENCE)).result
        with pytest.raises(StorageError) as caught:
            await queue.explain(bad)
        assert why in str(caught.value)
        assert bad in str(caught.value)
    [said] = [one for one in caplog.records if f"row of task {bad}" in one.getMessage()]
    assert why in said.getMessage()
    assert (bad, True) in {
        (problem.task_id, why in problem.text)
        for problem in check(path).problems
        if problem.kind == "unreadable"
    }


async def test_a_highest_number_that_is_none_costs_no_change_of_later_tasks(tmp_path: Path) -> None:
    path = tmp_path / "queue.duckdb"
    await three_tasks(path)
    write(path, "update meta set value = 'many' where key = 'seq'")
    async with queue_of(path) as queue:
        [task_id] = await queue.enqueue_ids("double", [(3,)], {})
        assert task_id in {info.id for info in await queue.get_tasks()}
        assert [] == (await queue.sql("select * from refused_records")).rows


async def test_a_page_behind_rows_that_cannot_be_read_is_no_last_page(tmp_path: Path) -> None:
    path = tmp_path / "queue.duckdb"
    async with queue_of(path) as queue:
        ids = await queue.enqueue_ids("double", [(n,) for n in range(300)], {})
    write(path, "update tasks set options = '[]' where seq <= 200 and seq % 20 <> 0")
    async with queue_of(path, window=10) as queue:
        left = [task_id for n, task_id in enumerate(ids, 1) if n > 200 or n % 20 == 0]
        assert [info.id for info in await queue.get_tasks(limit=40)] == left[:-41:-1]
        await queue.start_workers("default", 2)
        for task_id in left:
            ended = await queue.wait(task_id, timeout=PATIENCE)
            assert ended.status is TaskStatus.SUCCESS


@pytest.mark.parametrize("change", ["args = 'x'", "args = '5'", "kwargs = '[]'"])
async def test_a_task_whose_arguments_cannot_be_read_waits_and_lists_go_on(
    tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "queue.duckdb"
    first, bad, last = await three_tasks(path)
    write(path, f"update tasks set {change} where id = ?", bad)
    async with queue_of(path) as queue:
        assert {first, last} == {info.id for info in await queue.get_tasks()}
        assert f"Task {bad} is left out of the list" in caplog.text
        with pytest.raises(PayloadError):
            await queue.get_task_info(bad)
        await queue.start_workers("default", 1)
        await queue.wait(last, timeout=PATIENCE)
        stats = await queue.get_task_stats()
        assert stats["by_status"] == {"pending": 1, "success": 2}
        assert ["does not fit"] == [one["reason"] for one in stats["held"]]
        assert "does not fit" == (await queue.explain(bad)).reason
    assert bad in {problem.task_id for problem in check(path).problems}


async def test_a_flow_shows_its_other_tasks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "queue.duckdb"
    left_out.cache_clear()
    async with queue_of(path) as queue:

        @queue.task
        async def one(number: int) -> None: ...

        flow = await queue.enqueue_flow(group(*(one.s(n) for n in range(3))))
        [bad, *_] = [task.id for task in await queue.get_tasks()]
    write(path, """update tasks set options = '{"flow": 1}' where id = ?""", bad)
    async with queue_of(path) as queue:
        assert (await (await queue.flow(flow.id)).progress()).total == 2
    assert f"Task {bad} is left out of the list" in caplog.text


async def test_a_history_that_cannot_be_read_in_part_is_shown_in_part(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "queue.duckdb"
    first, *_ = await three_tasks(path)
    write(path, "update transitions set data = 'x' where task_id = ?", first)
    async with queue_of(path) as queue:
        await queue.start_workers("default", 1)
        await queue.wait(first, timeout=PATIENCE)
        history = await queue.get_history(first)
        assert [TaskStatus.STARTED, TaskStatus.SUCCESS] == [entry.to_status for entry in history]
    assert f"of task {first} can't be read" in caplog.text


RULES = {
    "a pause that is no JSON": ("pause", "category default", "not json"),
    "a limit of nothing": ("limit", "default", "{}"),
    "a limit of a text": ("limit", "default", '{"category": "default", "concurrency": "x"}'),
    "a revocation of all": ("revocation", "double", '{"task": "double", "where": {"[": 1}}'),
    "a pause under another's name": ("pause", "x", '{"category": "default", "task": null}'),
    "a kind that there is not": ("nonsense", "x", "{}"),
    "an alert of a list": ("alert", "x", "[]"),
}


@pytest.mark.parametrize("fault", RULES)
async def test_a_rule_that_cannot_be_read_counts_for_nothing_and_can_be_removed(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "queue.duckdb"
    ids = await three_tasks(path)
    kind, name, value = RULES[fault]
    write(path, "insert into rules values (?, ?, ?, now()::timestamp)", kind, name, value)
    found = [problem.text for problem in check(path).problems]
    assert len(found) == 1
    assert name in found[0]
    async with queue_of(path) as queue:
        assert [] == await queue.limits() + await queue.pauses() + await queue.revocations()
        await queue.start_workers("default", 1)
        for task_id in ids:
            assert (await queue.wait(task_id, timeout=PATIENCE)).status is TaskStatus.SUCCESS
        if name == "category default":
            assert await queue.resume("default")
        elif kind == "limit":
            await queue.set_limit("default", concurrency=2)
    assert caplog.records
    assert any("can't be read" in one.getMessage() for one in caplog.records)
    assert len(check(path).problems) == (name not in {"category default", "default"})


async def test_schedules_that_cannot_be_read_leave_the_others_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "queue.duckdb"
    changes = ("trigger = 'x'", "options = '[]'", "args = '{}'", "misfire = 'x'", "priority = 9")
    times = ("next_fire_at = '20000-01-01'", "jitter = 'nan'", "depends_on = '[1]'")
    async with queue_of(path) as queue:
        for number in range(len(changes + times)):
            await queue.schedules.add(f"bad{number}", "double", args=(1,), every=3600)
        await queue.schedules.add("good", "double", args=(21,), every=3600)
    for number, change in enumerate(changes + times):
        write(path, f"update schedules set {change} where name = 'bad{number}'")
    assert len(changes + times) == len(check(path).problems)
    async with queue_of(path) as queue:
        assert ["good"] == [info.name for info in await queue.schedules.list()]
        await queue.start_workers("default", 1)
        assert await (await queue.schedules.run_now("good")).result(timeout=PATIENCE) == 42
    said = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert len(changes + times) == len(said)
