"""What takes long to count for somebody is counted beside the reads of the engine."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from support.queues import PATIENCE
from wopr import QueryTimeoutError, Settings, TaskQueue
from wopr.storage.duckdb import selecting


async def test_a_count_for_somebody_keeps_no_read_of_the_engine_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting, counted, go = threading.Event(), selecting.tally, threading.Event()

    def tally(*args: object) -> object:
        counting.set()
        go.wait(PATIENCE)
        return counted(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(selecting, "tally", tally)
    settings = Settings(query_seconds=0.2)
    async with TaskQueue(enabled=True, database=tmp_path / "q.duckdb", settings=settings) as queue:

        @queue.task
        async def work() -> None: ...

        await work.enqueue()
        with pytest.raises(QueryTimeoutError, match="WOPR_TASKS_QUERY_SECONDS"):
            await queue.tasks.where(name="work").retry(dry_run=True)
        assert counting.is_set()
        assert (await queue.get_task_stats())["total"] == 1
        go.set()
