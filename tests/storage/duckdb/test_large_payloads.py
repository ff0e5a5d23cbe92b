"""Payloads that together are larger than the memory DuckDB may use."""

from __future__ import annotations

import random
from pathlib import Path

from support.queues import DuckDBHome
from wopr import Task, TaskQueue

LARGE = 200_000
"""Characters; all of them together are more than the default memory limit."""


def _keeping(queue: TaskQueue) -> Task[[str], None]:
    @queue.task(name="keep")
    async def keep(text: str) -> None:
        del text

    return keep


def _texts(count: int) -> list[tuple[str]]:
    rng = random.Random(1)  # what compresses well would be small in the file
    return [(rng.randbytes(LARGE // 2).hex(),) for _ in range(count)]


async def test_more_than_memory_holds_can_be_enqueued_at_once(tmp_path: Path) -> None:
    async with DuckDBHome(tmp_path / "q.duckdb").queue() as queue:
        await _keeping(queue).enqueue_many(_texts(1_200))
        assert {"pending": 1_200} == (await queue.get_task_stats())["by_status"]


async def test_more_than_memory_holds_can_be_replayed_after_a_crash(tmp_path: Path) -> None:
    home = DuckDBHome(tmp_path / "q.duckdb")
    async with home.queue() as queue:
        keep = _keeping(queue)
        for _ in range(7):
            await keep.enqueue_many(_texts(100))
            crashed = await home.crash_image(queue)
            async with crashed.queue() as other:
                stored = (await other.get_task_stats())["total"]
            assert (await queue.get_task_stats())["total"] == stored
