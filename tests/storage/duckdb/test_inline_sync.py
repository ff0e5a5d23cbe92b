"""A lone write is synced by the event loop's own thread, when that holds nobody up."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.queues import PATIENCE, until
from wopr.domain.clock import IdFactory
from wopr.domain.task import TaskRecord
from wopr.domain.transition import added
from wopr.executors.context import CurrentTask, running_task, set_current_task
from wopr.ports.storage import Entry
from wopr.storage.duckdb import disk
from wopr.storage.duckdb.journal import inline, journal
from wopr.storage.duckdb.journal.format import GROUP_MAGIC
from wopr.storage.duckdb.journal.inline import Inline
from wopr.storage.duckdb.storage import DuckDBStorage
from wopr.storage.duckdb.write import Write

from support.records import NOW  # isort: skip

IDS = IdFactory()
HERE, THREAD = "MainThread", "wopr-journal"


class Writers:
    """Notes the threads that write groups; lets one of those take its time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        write = disk.writer

        def watched(descriptor: int, content: bytes, offset: int) -> None:
            if content[: len(GROUP_MAGIC)] == GROUP_MAGIC:
                self.names.append(threading.current_thread().name)
                self.entered.set()
                assert self.go_on.wait(PATIENCE)
            write(descriptor, content, offset)

        monkeypatch.setattr(disk, "writer", watched)


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> Writers:
    monkeypatch.setattr(inline, "SLOW_SECONDS", PATIENCE)  # a busy disk changes nothing here
    return Writers(monkeypatch)


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[DuckDBStorage]:
    storage = DuckDBStorage(tmp_path / "tasks.duckdb")
    await storage.open()
    await quiet(storage)
    yield storage
    await storage.close()


async def quiet(storage: DuckDBStorage) -> None:
    """Wait until neither thread has anything to do."""

    async def busy() -> bool:
        await asyncio.sleep(0.001)
        pending = storage._folding.pending.rows
        return bool(storage._journal._asleep is not journal.IDLE or pending or _syncs(storage))

    await until(busy, lambda seen: not seen)


def _syncs(storage: DuckDBStorage) -> bool:
    return storage._folding.busy or not storage._folding._asleep


def _entry(payload: int = 0) -> Entry:
    text = f'["{"x" * payload}"]'
    record = TaskRecord(IDS.new(NOW), "t", "c", 2, 0, text, "{}", NOW)
    return record, added(record)


async def _written(storage: DuckDBStorage, payload: int = 0, *, urgent: bool = True) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(error: BaseException | None) -> None:
        future.set_result(None) if error is None else future.set_exception(error)

    storage.submit([_entry(payload)], done, urgent=urgent)
    async with asyncio.timeout(PATIENCE):
        await future


async def test_a_lone_write_is_synced_where_it_stands(
    storage: DuckDBStorage, writers: Writers
) -> None:
    await _written(storage)
    await quiet(storage)
    await _written(storage, urgent=False)  # at the end of the time it may linger
    assert [HERE, HERE] == writers.names


async def test_all_that_one_turn_of_the_loop_brings_is_one_write(
    storage: DuckDBStorage, writers: Writers
) -> None:
    await asyncio.gather(*(_written(storage) for _ in range(20)))
    assert [HERE] == writers.names


async def test_what_is_much_is_left_to_the_thread(storage: DuckDBStorage, writers: Writers) -> None:
    await _written(storage, payload=journal.INLINE_BYTES)
    assert [THREAD] == writers.names


async def test_what_has_no_room_in_the_segment_is_left_to_the_thread(
    storage: DuckDBStorage, writers: Writers, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments = storage._journal._segments
    assert segments._active is not None
    segments._active.size = segments._active.end + 100  # making space for another one takes long
    await _written(storage)
    assert [THREAD] == writers.names


async def test_nothing_is_synced_here_while_a_fold_or_a_checkpoint_syncs(
    storage: DuckDBStorage, writers: Writers
) -> None:
    storage._folding.busy = True
    await _written(storage)
    storage._folding.busy = False
    assert [THREAD] == writers.names
    await quiet(storage)
    await _written(storage)
    assert [THREAD, HERE] == writers.names


async def test_nothing_overtakes_what_the_thread_is_writing(
    storage: DuckDBStorage, writers: Writers
) -> None:
    writers.go_on.clear()
    first = asyncio.ensure_future(_written(storage, payload=journal.INLINE_BYTES))
    assert await asyncio.to_thread(writers.entered.wait, PATIENCE)
    others = [asyncio.ensure_future(_written(storage)) for _ in range(3)]
    for _ in range(3):  # their turns come and go
        await asyncio.sleep(0)
    assert [False] * 4 == [one.done() for one in (first, *others)]
    writers.go_on.set()
    await asyncio.gather(first, *others)
    assert {THREAD} == set(writers.names)


async def test_writes_of_another_thread_are_not_synced_on_the_loop(
    storage: DuckDBStorage, writers: Writers
) -> None:
    told = threading.Event()
    await asyncio.to_thread(storage.submit, [_entry()], lambda error: told.set())
    assert await asyncio.to_thread(told.wait, PATIENCE)
    assert [THREAD] == writers.names


async def test_another_thread_may_hand_over_more_while_the_loop_looks_what_there_is(
    storage: DuckDBStorage, writers: Writers
) -> None:
    told: list[BaseException | None] = []

    class Content(bytes):
        """Records; while they are measured, others come."""

        def __len__(self) -> int:
            if storage._journal.writes_in == before + 3:
                other = threading.Thread(target=storage.submit, args=([_entry()], told.append))
                other.start()
                other.join(PATIENCE)
            return super().__len__()

    before = storage._journal.writes_in
    with storage._order:
        storage._hand_over(Write(Content(), 0, told.append))
        storage._hand_over(Write(b"", 0, told.append))
    await _written(storage)
    await storage.flush()
    await asyncio.sleep(0)
    assert [None] * 3 == told


async def test_a_storage_that_was_asked_not_to_syncs_nothing_on_the_loop(
    tmp_path: Path, writers: Writers
) -> None:
    storage = DuckDBStorage(tmp_path / "tasks.duckdb", inline_sync=False)
    await storage.open()
    await quiet(storage)
    await _written(storage)
    await storage.close()
    assert [THREAD] == writers.names


async def test_one_slow_sync_leaves_the_next_ones_to_the_thread(
    storage: DuckDBStorage,
    writers: Writers,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(inline, "SLOW_SECONDS", -1.0)  # this one is
    of_tasks: list[object] = []
    caplog.handler.addFilter(lambda _: of_tasks.append(running_task()) or True)
    set_current_task(CurrentTask("id", "step", "c", 1, lambda *_: None))
    with caplog.at_level(logging.INFO):
        await _written(storage)
    assert "left to a thread" in caplog.text
    assert [None] * len(caplog.records) == of_tasks
    monkeypatch.setattr(inline, "SLOW_SECONDS", PATIENCE)
    for _ in range(3):
        await quiet(storage)
        await _written(storage)
    assert [HERE, THREAD, THREAD, THREAD] == writers.names
    storage._journal.inline._off_until = 0.0  # a minute later
    await quiet(storage)
    await _written(storage)
    assert HERE == writers.names[-1]


# -- for how long, on a clock of one's own -----------------------------------------------


def test_it_is_off_for_a_minute_and_for_twice_as_long_each_time_it_is_slow_again() -> None:
    mode = Inline(wanted=True)
    assert mode.allowed(100.0)
    assert not mode.took(inline.SLOW_SECONDS, 100.0)
    assert mode.allowed(100.0)
    now = 100.0
    for minutes in (1, 2, 4, 8, 16, 32, 60, 60):
        assert mode.took(0.006, now)
        assert not mode.allowed(now + 60 * minutes - 0.1)
        now += 60 * minutes
        assert mode.allowed(now)


def test_the_time_it_is_off_is_a_minute_again_once_it_was_fast_for_long() -> None:
    mode = Inline(wanted=True)
    assert mode.took(0.006, 0.0)
    assert mode.took(0.006, 60.0)
    assert mode.allowed(180.0)
    assert not mode.took(0.001, 180.0 + 241.0)
    assert mode.took(0.006, 500.0)
    assert mode.allowed(560.0)


def test_what_is_not_wanted_is_never_allowed() -> None:
    assert not Inline(wanted=False).allowed(1e9)


async def test_callers_are_told_in_the_order_of_their_writes(
    storage: DuckDBStorage, writers: Writers
) -> None:
    told: list[int] = []
    storage.submit([_entry(100_000)], lambda error: told.append(1))  # much: left to the thread
    waits = threading.Event()
    for _ in range(int(PATIENCE * 1_000)):
        if storage._told_in:
            break
        storage._journal.leave_to_the_thread()
        waits.wait(0.001)  # the loop stands still, so nobody is told yet
    assert storage._told_in > storage._told_out
    storage.submit([_entry()], lambda error: told.append(2), now=True)
    await storage.flush()
    assert [1, 2] == told
    assert [THREAD, THREAD] == writers.names
