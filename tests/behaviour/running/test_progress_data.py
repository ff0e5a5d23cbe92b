"""What a task reports beside its progress: a JSON object, bounded, masked, kept with its end."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from support.queues import DuckDBHome, Gate, Home, ended, running, until, until_status
from wopr import InvalidCallError, Snooze, TaskQueue, TaskStatus, current_task
from wopr.executors.context import MOST_DATA


def reporting(queue: TaskQueue, gate: Gate, data: Any) -> Any:
    @queue.task(name="work")
    async def work() -> None:
        task = current_task()
        task.progress(25, data=data)
        task.progress(50, "half way")
        await gate.wait()

    return work


async def test_data_is_seen_at_once_and_outlives_the_success(home: Home) -> None:
    queue, gate = home.queue(), Gate()
    work = reporting(queue, gate, {"rows": 3, "files": ["a", "b"]})
    async with running(queue, default=1):
        handle = await work.enqueue()
        await gate.arrivals()
        assert (await handle.info()).progress_data == {"rows": 3, "files": ["a", "b"]}
        gate.open()
        [done] = await ended(queue, handle.id)
    assert done.progress_data == {"rows": 3, "files": ["a", "b"]}
    async with home.queue() as later:
        stored = await later.get_task_info(handle.id)
    assert stored is not None
    assert stored.progress_data == {"rows": 3, "files": ["a", "b"]}


async def test_data_stands_in_the_row_while_the_task_runs(durable_home: DuckDBHome) -> None:
    queue, gate = durable_home.queue(), Gate()
    work = reporting(queue, gate, {"rows": 3})

    async def rows() -> Any:
        found = await queue.sql("select progress_data ->> '$.rows' as rows from tasks")
        return found[0]["rows"]

    async with running(queue, default=1):
        await work.enqueue()
        await gate.arrivals()
        await until(rows, lambda said: said == "3")
        gate.open()


async def test_secrets_in_data_are_masked(home: Home) -> None:
    queue, gate = home.queue(), Gate()
    gate.open()
    work = reporting(
        queue, gate, {"password": "hunter2", "deep": [{"api_key": 7}], "url": "ftp://u:pw@h/"}
    )
    async with running(queue, default=1):
        [info] = await ended(queue, (await work.enqueue()).id)
    said = str(info.progress_data)
    assert "hunter2" not in said
    assert ":pw@" not in said
    assert info.progress_data["deep"] != [{"api_key": 7}]


async def test_data_goes_with_a_new_attempt_and_stays_with_a_failed_one(
    durable_home: DuckDBHome,
) -> None:
    queue, seen = durable_home.queue(), []

    @queue.task(name="work", max_retries=1, retry=None)
    async def work() -> None:
        task = current_task()
        info = await queue.get_task_info(task.id)
        assert info is not None
        seen.append(info.progress_data)
        task.progress(10, data={"attempt": task.attempt})
        if task.attempt == 1:
            raise Snooze(0.01)
        raise ValueError("no")

    async with running(queue, default=1):
        handle = await work.enqueue()
        info = await until_status(queue, handle.id, TaskStatus.RETRY)
        assert info.progress_data == {"attempt": 2}
        moves = await queue.sql(
            "select reason, data ->> '$.progress_data' as said from transitions "
            "where data like '%progress_data%' order by seq"
        )
        report = await queue.sql("select progress_data from tasks")
    assert seen == [{}, {}]
    assert [move["said"] for move in moves] == [
        '{"attempt": 1}',
        None,
        '{"attempt": 2}',
    ]
    assert report[0]["progress_data"] == '{"attempt": 2}'


async def test_an_empty_object_takes_the_data_away(home: Home) -> None:
    queue = home.queue()

    @queue.task(name="work")
    async def work() -> None:
        current_task().progress(10, data={"rows": 1})
        current_task().progress(20, data={})

    async with running(queue, default=1):
        [info] = await ended(queue, (await work.enqueue()).id)
    assert info.progress_data == {}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([1], "takes a dict"),
        ({"a": object()}, "what JSON can hold"),
        ({"a": math.nan}, "what JSON can hold"),
        ({"a": "x" * MOST_DATA}, "up to 4,096 bytes"),
    ],
)
async def test_data_that_can_t_be_stored_is_refused(home: Home, data: Any, said: str) -> None:
    queue, refused = home.queue(), []

    @queue.task(name="work")
    async def work() -> None:
        current_task().progress(10, "kept", data={"rows": 1})
        try:
            current_task().progress(20, data=data)
        except InvalidCallError as error:
            refused.append(str(error))

    async with running(queue, default=1):
        [info] = await ended(queue, (await work.enqueue()).id)
    assert said in refused[0]
    assert info.progress_data == {"rows": 1}


def report_in_a_process() -> None:
    current_task().progress(10, "there", data={"rows": 7, "odd": "\ud800"})


async def test_data_of_a_worker_process_arrives(tmp_path: Any) -> None:
    queue = DuckDBHome(tmp_path / "tasks.duckdb").queue()
    work = queue.task(name="work", executor="process")(report_in_a_process)
    async with queue:
        await queue.start_workers("default", 1)
        async with asyncio.timeout(60):
            [info] = await ended(queue, (await work.enqueue()).id)
    assert info.progress_data["rows"] == 7
