"""SQL over large results works at a memory limit that they are many times as large as."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.queues import PATIENCE
from wopr import TaskQueue
from wopr.config.settings import Settings
from wopr.storage.duckdb.asked.portioned import MOST_PORTIONS, PORTION_BYTES, cuts

MIB = 1024 * 1024
RESULTS, EACH = 200, 1_000_000
SHORTEST = "select min(length(result)), count(*), max(name) from tasks where result <> ''"


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    settings = Settings(memory_limit="100MB", query_seconds=PATIENCE)
    queue = TaskQueue(enabled=True, database=tmp_path / "large.duckdb", settings=settings)

    @queue.task
    async def large(number: int) -> str:
        return "x" * (EACH - number)

    async with queue:
        await queue.start_workers("default", 4)
        handles = await large.enqueue_many([(number,) for number in range(RESULTS)])
        for handle in handles:
            await queue.wait(handle.id, PATIENCE)
        yield queue


async def test_results_of_twice_the_memory_limit_can_be_asked(queue: TaskQueue) -> None:
    shortest = EACH - RESULTS + 1 + len('""')
    expected = (shortest, RESULTS, "large")
    assert [expected] == (await queue.sql(SHORTEST)).rows
    assert [expected] == (await queue.typed_sql(SHORTEST)).rows


async def test_results_of_twice_the_memory_limit_come_in_a_stream(queue: TaskQueue) -> None:
    found = 0
    async with await queue.sql("select result from tasks", limit=None) as stream:
        async for batch in stream:
            assert batch.nbytes <= 6 * MIB
            found += sum(map(len, batch.column("result").to_pylist()))
    assert sum(EACH - number + 2 for number in range(RESULTS)) == found


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([], []),
        ([(10, MIB)], []),
        ([(0, 0), (10, MIB)], []),
        ([(32, 32 * MIB)], [16]),
        ([(5, 10 * MIB), (5, 10 * MIB)], [5]),
        ([(100, 0), (3, 3 * PORTION_BYTES), (100, 0)], [101, 102]),
    ],
)
def test_portions_are_cut_by_bytes(segments: list[tuple[int, int]], expected: list[int]) -> None:
    assert cuts(segments) == expected


def test_there_are_not_too_many_portions() -> None:
    assert MOST_PORTIONS // 2 <= len(cuts([(10**6, 10**6 * MIB)])) <= MOST_PORTIONS
