"""Cleaning up many tasks beside work that goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.queues import DuckDBHome, ended, running
from wopr.storage.duckdb import cleanup


async def test_a_long_cleanup_goes_in_batches_between_which_others_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "BATCH", 10)
    queue = DuckDBHome(tmp_path / "tasks.duckdb").queue()
    batches: list[int] = []
    added_after: list[int] = []
    batch = cleanup.Cleanup.batch

    def counted(self: cleanup.Cleanup) -> int:
        batches.append(batch(self))
        return batches[-1]

    monkeypatch.setattr(cleanup.Cleanup, "batch", counted)

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
