"""Errors where nobody expects one: nothing is doubled, refused changes stay refused."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.queues import PATIENCE, DuckDBHome
from wopr import TaskQueue
from wopr.storage.duckdb import applied
from wopr.storage.duckdb.journal.segment import Segment
from wopr.storage.duckdb.start import start


def noting(path: Path) -> TaskQueue:
    queue = DuckDBHome(path).queue()
    queue.register_task("note")(lambda n: None)
    return queue


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.duckdb"


async def test_a_segment_that_can_not_be_looked_at_is_written_anew_and_nothing_twice(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = noting(path)
    async with queue:
        await queue.enqueue("note", (0,))
        stat, left = os.stat, 1

        def refused(name: Any, *args: Any, **kwargs: Any) -> os.stat_result:
            nonlocal left
            if left and str(name).endswith(".journal-1"):
                left -= 1
                raise PermissionError(13, "Permission denied")
            return stat(name, *args, **kwargs)

        monkeypatch.setattr(os, "stat", refused)
        await queue.enqueue("note", (1,))
        monkeypatch.undo()
        await queue.enqueue("note", (2,))
        assert 3 == len(await queue.get_tasks())
        assert 3 == queue.storage._started.segments.position
    started = start(path)
    assert 3 == started.segments.position
    started.close()


async def test_the_thread_of_the_journal_outlives_what_it_does_not_expect(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = noting(path)
    async with queue:
        await queue.enqueue("note", (0,))
        seen = asyncio.Event()
        loop = asyncio.get_running_loop()

        def broken(segment: Segment) -> str | None:
            loop.call_soon_threadsafe(seen.set)
            raise RuntimeError("a bug")

        monkeypatch.setattr(Segment, "trouble", broken)
        await asyncio.wait_for(seen.wait(), PATIENCE)
        monkeypatch.undo()
        await queue.enqueue("note", (1,))
        assert 2 == len(await queue.get_tasks())


def test_setting_a_record_aside_that_fails_leaves_no_transaction_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = start(path)
    connection = started.opened.connection
    bad = applied.Piece(1, b"no record at all", operation=False)
    connection.execute("alter table refused_records rename to elsewhere")
    with pytest.raises(duckdb.Error):
        applied.apply(connection, [bad])
    connection.execute("alter table elsewhere rename to refused_records")
    applied.apply(connection, [bad])
    assert (1, 0) == applied.position(connection)
    started.close()


def test_a_storage_works_on_the_next_loop_when_one_ended_in_the_middle(path: Path) -> None:
    queue = noting(path)

    async def begin() -> None:
        await queue.enqueue("note", (0,))
        queue.storage._turns.ending = True  # as if the loop ended before the end of its turn

    async def go_on() -> int:
        async with queue:
            await queue.storage.open()
            await queue.enqueue("note", (1,))
            assert not queue.storage._turns.ending
            return len(await queue.get_tasks())

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(begin())
        assert 2 == loop.run_until_complete(asyncio.wait_for(go_on(), PATIENCE))
    finally:
        loop.close()
