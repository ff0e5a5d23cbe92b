"""The writer's thread: what it counts, in which order it works, and whom it tells."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.queues import PATIENCE, DuckDBHome, Gate
from wopr import StorageError
from wopr.domain.clock import IdFactory
from wopr.domain.newtask import NewTask
from wopr.domain.task import TaskRecord
from wopr.domain.transition import added
from wopr.ports.storage import Entry
from wopr.storage.duckdb import folding, reads
from wopr.storage.duckdb.storage import DuckDBStorage
from wopr.storage.duckdb.write import Write
from wopr.storage.duckdb.writer import Writer

from support.records import NOW  # isort: skip

IDS = IdFactory()


def _entry() -> Entry:
    record = TaskRecord(IDS.new(NOW), "t", "c", 2, 0, "[]", "{}", NOW)
    return record, added(record)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[DuckDBStorage]:
    """Return a storage without an event loop: it tells its callers in the writer's thread."""
    storage = DuckDBStorage(tmp_path / "tasks.duckdb")
    storage.open_sync()
    yield storage
    storage.close_sync()


class Held:
    """Keeps the writer's thread busy until it is let go."""

    def __init__(self, storage: DuckDBStorage) -> None:
        busy, self._go_on = threading.Event(), threading.Event()
        self.job = storage.in_writer(lambda _: (busy.set(), self._go_on.wait(PATIENCE)))
        assert busy.wait(PATIENCE)

    def let_go(self) -> None:
        """Let the thread go on."""
        self._go_on.set()


def test_a_job_waits_for_the_writes_before_it_also_behind_another_job(
    storage: DuckDBStorage,
) -> None:
    order: list[str] = []
    held = Held(storage)
    storage.submit([_entry()], lambda error: order.append("write"), urgent=False)
    flush = storage.in_writer(lambda _: order.append("job"))
    held.let_go()
    flush.result(PATIENCE)
    assert ["write", "job"] == order


def test_a_job_does_not_wait_for_the_writes_after_it(storage: DuckDBStorage) -> None:
    order: list[str] = []
    left = 5

    def again(error: BaseException | None) -> None:  # as callers do that enqueue without a pause
        nonlocal left
        order.append("write")
        left -= 1
        if left:
            storage.submit([_entry()], again)

    held = Held(storage)
    storage.submit([_entry()], again)
    job = storage.in_writer(lambda _: order.append("job"))
    held.let_go()
    job.result(PATIENCE)
    storage.in_writer(lambda _: None).result(PATIENCE)
    assert ["write", "job", "write"] == order[:3]


def test_writes_are_counted_right_when_a_commit_ends_while_one_is_handed_over(
    storage: DuckDBStorage,
) -> None:
    ended = threading.Event()
    held = Held(storage)

    class Rows(list[Any]):
        """Log rows; while they are counted for the first time, the commit before them ends."""

        def __len__(self) -> int:
            held.let_go()
            assert ended.wait(PATIENCE)
            return super().__len__()

    storage.submit([_entry()], lambda error: ended.set())
    storage._writer.submit(Write(Rows(), [], [], [], lambda error: None, urgent=True))
    storage.in_writer(lambda _: None).result(PATIENCE)
    assert 0 == storage._writer.pending_rows


async def test_a_failed_commit_reaches_every_caller_also_those_behind_a_progress_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = DuckDBStorage(tmp_path / "tasks.duckdb")
    await storage.open()
    known, transition = _entry()
    await _written(storage, (known, transition))

    def refuse(writer: Writer, batch: list[Write]) -> None:
        raise duckdb.IOException("No space left on device")

    monkeypatch.setattr(Writer, "_append", refuse)
    held = await asyncio.to_thread(Held, storage)
    first = asyncio.ensure_future(_written(storage, _entry()))
    await asyncio.sleep(0)
    storage.touch(known)
    second = asyncio.ensure_future(_written(storage, _entry()))
    await asyncio.sleep(0)
    held.let_go()
    async with asyncio.timeout(PATIENCE):
        errors = await asyncio.gather(first, second, return_exceptions=True)
    assert [StorageError, StorageError] == [type(error) for error in errors]
    monkeypatch.undo()
    await storage.close()


async def test_what_goes_wrong_after_a_commit_keeps_nobody_else_waiting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = DuckDBStorage(tmp_path / "tasks.duckdb")
    await storage.open()

    def broken(error: BaseException | None) -> None:
        raise LookupError("a bug")

    held = await asyncio.to_thread(Held, storage)
    storage.submit([_entry()], broken)
    other = asyncio.ensure_future(_written(storage, _entry()))
    await asyncio.sleep(0)
    held.let_go()
    async with asyncio.timeout(PATIENCE):
        await other
    assert "LookupError: a bug" in caplog.text
    await storage.close()


async def _written(storage: DuckDBStorage, entry: Entry) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(error: BaseException | None) -> None:
        future.set_result(None) if error is None else future.set_exception(error)

    storage.submit([entry], done)
    await future


async def test_the_watermark_never_passes_the_add_of_a_task_that_was_claimed_in_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "WATERMARK_EVERY", 1)
    monkeypatch.setattr(folding, "CHUNK", 1)
    monkeypatch.setattr(folding, "IDLE_SECONDS", 1_000.0)  # nothing folds by itself
    home = DuckDBHome(tmp_path / "tasks.duckdb")
    queue, gate = home.queue(), Gate()

    @queue.task(name="wait")
    async def wait(who: int) -> None:
        await gate.wait(who)

    async with queue:
        await queue.start_workers("default", 3)
        handles = [await wait.enqueue(number) for number in range(3)]
        await asyncio.wrap_future(
            queue.storage.in_writer(lambda _: queue.storage._writer.folding.fold_some())
        )
        crashed = (await home.crash_image(queue)).queue()
        async with crashed:
            found = [await crashed.get_task_info(handle.id) for handle in handles]
        gate.open()
    assert [handle.id for handle in handles] == [info.id for info in found if info is not None]


async def test_a_page_is_whole_although_tasks_are_claimed_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = DuckDBHome(tmp_path / "tasks.duckdb").queue()

    @queue.task
    async def noop(number: int) -> None: ...

    between = reads._between

    def interrupted(cursor: Any, where: str, params: list[object], order: str) -> list[TaskRecord]:
        queue.storage.in_writer(
            lambda connection: connection.execute(
                "update tasks set status = 'started' where seq = 2"
            ).fetchall()
        ).result(PATIENCE)
        return between(cursor, where, params, order)

    async with queue:
        await noop.enqueue_many([(number,) for number in range(5)])
        await queue.get_tasks()  # folded
        monkeypatch.setattr(reads, "_between", interrupted)
        page = await queue.storage.ready("default", 2, 0, NOW, [], 3)
        monkeypatch.undo()
    assert [1, 2, 3] == [record.seq for record in page]


def test_a_client_of_another_make_can_not_add_a_task_that_no_lane_takes() -> None:
    from wopr.remote import protocol

    plain = protocol.new_task_to_plain(
        NewTask(name="t", category="c", priority=2, max_retries=0, args="[]", kwargs="{}")
    )
    with pytest.raises(ValueError, match="7"):
        protocol.new_task_from_plain({**plain, "on_conflict": "skip", "priority": 7})
