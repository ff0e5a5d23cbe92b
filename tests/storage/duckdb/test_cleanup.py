"""Cleaning up many tasks beside work that goes on."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from support.queues import DuckDBHome, ended, running
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
