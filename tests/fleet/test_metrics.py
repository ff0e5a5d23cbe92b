"""The numbers of a queue that hosts share: each tells what it did, and any what there is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.queues import DuckDBHome, Gate, PostgresHome, ended
from wopr import QueryTimeoutError, TaskQueue
from wopr.access import sharedworkings
from wopr.ports.answers import QueryResult
from wopr.ports.storage import QueryLimits, QueryRows
from wopr.queue.queue import inside
from wopr.service.metrics import Metrics

LABELS = ("kind", "name", "schedule", "category", "task", "event", "le", "version", "python")
LIMITS = QueryLimits()


async def scraped(found: Metrics) -> dict[str, float]:
    text = (await found.text()).decode()
    return {
        " ".join(
            [sample.name, *(sample.labels[one] for one in LABELS if one in sample.labels)]
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def with_tasks(queue: TaskQueue) -> TaskQueue:
    @queue.task(name="double", category="a")
    async def double(number: int) -> int:
        return number * 2

    @queue.task(name="fail", category="a", max_retries=0)
    async def fail() -> None:
        raise ValueError

    return queue


async def work(queue: TaskQueue) -> None:
    await queue.start_workers("a", 1)
    handles = [await queue.enqueue("double", (1,)), await queue.enqueue("fail")]
    await queue.enqueue("double", (1,), delay=3_600)
    await ended(queue, *(handle.id for handle in handles))
    await queue.pause("b")


async def test_there_are_the_numbers_that_a_file_has(shared: PostgresHome, tmp_path: Path) -> None:
    found = []
    for home in (shared, DuckDBHome(tmp_path / "tasks.duckdb")):
        queue = with_tasks(home.queue())
        metrics = Metrics(queue)
        async with queue:
            metrics.attach()
            await work(queue)
            numbers = await scraped(metrics)
            await metrics.stop()
        found.append(numbers)
        assert (
            3
            == numbers["wopr_task_events_total a double enqueued"]
            + numbers["wopr_task_events_total a fail enqueued"]
        )
        assert 1 == numbers["wopr_task_events_total a double succeeded"]
        assert 1 == numbers["wopr_failed_attempts_total a fail"]
        assert 1 == numbers["wopr_run_seconds_count a double"]
        assert (1, 0, 0) == tuple(
            numbers[f"wopr_tasks_{one} a"] for one in ("waiting", "due", "running")
        )
        assert 1 == numbers["wopr_workers a"]
        assert 1 == numbers["wopr_paused category b"]
    there, of_file = found
    assert (0, 1) == (there.pop("wopr_history_counted"), of_file.pop("wopr_history_counted"))
    journal = {name for name in of_file if name.startswith("wopr_journal")}
    assert of_file.keys() - journal == there.keys()


async def test_a_host_counts_what_it_did_and_sees_what_all_have(shared: PostgresHome) -> None:
    one, other = with_tasks(shared.queue()), with_tasks(shared.queue())
    metrics = Metrics(other)
    async with one, other:
        metrics.attach()
        await work(one)
        numbers = await scraped(metrics)
        assert 0 == numbers["wopr_task_events_total a double succeeded"]
        assert 1 == numbers["wopr_tasks_waiting a"]
        await metrics.stop()


async def test_who_scrapes_all_the_time_asks_the_server_seldom(
    shared: PostgresHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharedworkings, "SHARE", 1e9)
    asked: list[str] = []

    async def ask(query: str, params: Sequence[Any], limits: QueryLimits) -> QueryResult:
        asked.append(query)
        if query == "slow":
            raise QueryTimeoutError(query)
        return QueryResult(QueryRows(("moment",), [tuple(params)]))

    async with shared.queue() as queue:
        workings = sharedworkings.shared(inside(queue).access.works, ask)
        assert workings is not None
        for moment in range(3):
            assert [(0,)] == await workings.query("how many", [moment], LIMITS)
            with pytest.raises((QueryTimeoutError, TimeoutError)):
                await workings.query("slow", [moment], LIMITS)
    assert ["how many", "slow"] == asked


async def test_two_who_scrape_at_once_get_one_answer(shared: PostgresHome) -> None:
    gate, asked = Gate(), list[str]()

    async def ask(query: str, params: Sequence[Any], limits: QueryLimits) -> QueryResult:
        asked.append(query)
        await gate.wait(query)
        return QueryResult(QueryRows(("moment",), [tuple(params)]))

    async with shared.queue() as queue:
        workings = sharedworkings.shared(inside(queue).access.works, ask)
        assert workings is not None
        first, second = (asyncio.create_task(workings.query("one", [7], LIMITS)) for _ in range(2))
        await gate.arrivals()
        gate.open()
        assert [[(7,)], [(7,)]] == [await first, await second]
    assert ["one"] == asked
