"""Queries share the memory limit with the writer; the writer comes first."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from wopr import StorageError, TaskQueue
from wopr.storage.duckdb import writer
from wopr.storage.duckdb.write import Write
from wopr.storage.duckdb.writer import Writer


@pytest.mark.parametrize("landed", [False, True])
async def test_a_commit_without_memory_stops_the_query_and_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, landed: bool
) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "q.duckdb")
    queue.register_task("noop")(lambda: None)
    append = Writer._append
    stopped = 0
    failures = 2

    def greedy(self: Writer, batch: list[Write]) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            if landed:
                failures = 0
                append(self, batch)
            raise duckdb.OutOfMemoryException("Out of Memory Error: no room")
        append(self, batch)

    def stop() -> None:
        nonlocal stopped
        stopped += 1

    async with queue:
        await queue.sql("select 1")
        queue.storage._writer._make_room = stop
        monkeypatch.setattr(Writer, "_append", greedy)
        task_id = await queue.add_task("noop")
        monkeypatch.undo()

        assert (1 if landed else 2) == stopped
        assert 1 == len(await queue.get_history(task_id))
        assert {"pending": 1} == (await queue.get_task_stats())["by_status"]


async def test_memory_that_never_comes_back_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "q.duckdb")
    queue.register_task("noop")(lambda: None)
    tries = 0

    def greedy(self: Writer, batch: list[Write]) -> None:
        nonlocal tries
        tries += 1
        raise duckdb.OutOfMemoryException("Out of Memory Error: no room")

    monkeypatch.setattr(writer, "MEMORY_SECONDS", 0.0)
    async with queue:
        await queue.sql("select 1")
        monkeypatch.setattr(Writer, "_append", greedy)
        with pytest.raises(StorageError, match="no room"):
            await queue.add_task("noop")
        monkeypatch.undo()

        assert writer.MEMORY_TRIES == tries
        assert 0 == (await queue.get_task_stats())["total"]
