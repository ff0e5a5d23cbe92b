"""An application's queue is opened on another file, and is as before afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from support.queues import MemoryStorage
from wopr import InvalidCallError, QueueDisabledError, TaskQueue
from wopr.testing import FakeClock, drain, isolated


async def test_the_own_file_is_left_alone_and_the_queue_is_as_before(tmp_path: Path) -> None:
    own = tmp_path / "own.duckdb"
    queue = TaskQueue(enabled=False, database=own)
    add = queue.task(name="add")(lambda a, b: a + b)
    async with isolated(queue) as same:
        assert (True, True) == (same is queue, queue.enabled)
        other = queue.database
        assert other.exists()
        await add.enqueue(1, 2)
        [info] = await drain(queue)
        assert 3 == info.result
    assert (False, own) == (queue.enabled, queue.database)
    assert not own.exists()
    assert not other.exists()
    with pytest.raises(QueueDisabledError):
        await add.enqueue(1, 2)


async def test_each_block_starts_empty_unless_it_names_a_file(tmp_path: Path) -> None:
    queue = TaskQueue()
    note = queue.task(name="note")(lambda: None)
    kept = tmp_path / "kept.duckdb"
    for database, before in ((None, 0), (None, 0), (kept, 0), (str(kept), 1)):
        async with isolated(queue, database=database):
            assert before == len(await queue.get_tasks())
            await note.enqueue()


async def test_a_storage_of_the_application_is_left_alone() -> None:
    storage = MemoryStorage()
    queue = TaskQueue(enabled=True, storage_factory=lambda: storage)
    note = queue.task(name="note")(lambda: None)
    async with isolated(queue):
        await note.enqueue()
    assert {} == storage.rows
    async with queue:
        await note.enqueue()
    assert 1 == len(storage.rows)


async def test_it_ends_well_when_the_block_fails(tmp_path: Path) -> None:
    queue = TaskQueue(database=tmp_path / "own.duckdb")
    with pytest.raises(ZeroDivisionError):
        async with isolated(queue):
            raise ZeroDivisionError
    async with isolated(queue):
        assert [] == await queue.get_tasks()


async def test_an_open_queue_is_refused(tmp_path: Path) -> None:
    async with TaskQueue(True, database=tmp_path / "own.duckdb") as queue:
        with pytest.raises(InvalidCallError, match="is open, so it can't be opened on another"):
            await isolated(queue).__aenter__()


async def test_the_clock_is_the_queues_for_the_block(tmp_path: Path) -> None:
    clock = FakeClock(datetime(2040, 2, 29, 8, tzinfo=timezone(timedelta(hours=2))))
    queue = TaskQueue(database=tmp_path / "own.duckdb")
    note = queue.task(name="note")(lambda: None)
    async with isolated(queue, clock=clock):
        info = await (await note.enqueue()).info()
        assert datetime(2040, 2, 29, 6, tzinfo=UTC) == info.created_at == clock.now()
    async with isolated(queue):
        info = await (await note.enqueue()).info()
        assert info.created_at < clock.now()


def test_a_clock_moves_only_forwards_and_by_what_it_is_told() -> None:
    clock = FakeClock()
    begin = clock.now()
    assert begin + timedelta(seconds=90) == clock.advance(timedelta(minutes=1.5)) == clock.now()
    clock.advance(0.5)
    assert 90.5 == clock.monotonic()
    assert "2030-01-01T12:01:30.5" in repr(clock)
    with pytest.raises(InvalidCallError, match="by must be a number of seconds"):
        clock.advance(-1)


@pytest.mark.parametrize("start", [datetime(2030, 1, 1), 3])
def test_a_clock_without_time_zone_is_refused(start: Any) -> None:
    with pytest.raises(InvalidCallError, match="aware datetime"):
        FakeClock(start)
