"""The journal's thread and the one behind it: what is counted, in which order, who is told."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.queues import PATIENCE, DuckDBHome, Gate, files_beside
from wopr import StorageError
from wopr.domain import decide
from wopr.domain.clock import IdFactory
from wopr.domain.newtask import NewTask
from wopr.domain.task import TaskRecord
from wopr.domain.transition import added
from wopr.ports.storage import Entry
from wopr.storage.duckdb import applied, checkpoints, folding, wide
from wopr.storage.duckdb.journal.format import Group
from wopr.storage.duckdb.journal.segments import Segments
from wopr.storage.duckdb.storage import DuckDBStorage
from wopr.storage.duckdb.write import Write

from support.records import NOW  # isort: skip

IDS = IdFactory()
COUNT = "select count(*) from tasks"


def _entry() -> Entry:
    record = TaskRecord(IDS.new(NOW), "t", "c", 2, 0, "[]", "{}", NOW)
    return record, added(record)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[DuckDBStorage]:
    """Return a storage without an event loop: it tells its callers in the journal's thread."""
    storage = DuckDBStorage(tmp_path / "tasks.duckdb")
    storage.open_sync()
    yield storage
    storage.close_sync()


class Held:
    """Keeps the thread that folds busy until it is let go."""

    def __init__(self, storage: DuckDBStorage) -> None:
        busy, self._go_on = threading.Event(), threading.Event()
        self.job = storage.in_writer(lambda _: (busy.set(), self._go_on.wait(PATIENCE)))
        assert busy.wait(PATIENCE)

    def let_go(self) -> None:
        """Let the thread go on."""
        self._go_on.set()


# -- jobs on folded tables ------------------------------------------------------------


def test_a_job_sees_the_writes_before_it_also_behind_another_job(storage: DuckDBStorage) -> None:
    told = threading.Event()
    held = Held(storage)
    storage.submit([_entry()], lambda error: None, urgent=False)
    first = storage.in_writer(lambda db: db.execute(COUNT).fetchall())
    storage.submit([_entry()], lambda error: told.set(), urgent=False)
    second = storage.in_writer(lambda db: db.execute(COUNT).fetchall())
    assert told.wait(PATIENCE), "nobody waits for the tables to be told"
    held.let_go()
    [(seen,)], [(seen_later,)] = first.result(PATIENCE), second.result(PATIENCE)
    assert seen >= 1
    assert 2 == seen_later


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Return what is done, and taken out, at the end of the next transactions of the tables."""
    todo: list[Callable[[], None]] = []
    apply = applied._apply

    def applied_and_more(*arguments: Any) -> None:
        apply(*arguments)
        if todo:
            todo.pop(0)()

    monkeypatch.setattr(applied, "_apply", applied_and_more)
    return todo


def test_a_job_does_not_wait_for_the_writes_after_it(
    storage: DuckDBStorage, meanwhile: list[Callable[[], None]]
) -> None:
    def another() -> None:  # as callers do that enqueue without a pause
        told = threading.Event()
        storage.submit([_entry()], lambda error: told.set())
        assert told.wait(PATIENCE)
        assert not job.done()

    held = Held(storage)
    storage.submit([_entry()], lambda error: None)
    meanwhile += [another] * 3
    job = storage.in_writer(lambda db: (len(meanwhile), db.execute(COUNT).fetchall()))
    held.let_go()
    assert (2, [(1,)]) == job.result(PATIENCE)
    meanwhile.clear()


def test_progress_that_comes_before_its_claim_is_in_the_tables_is_kept(
    storage: DuckDBStorage, meanwhile: list[Callable[[], None]]
) -> None:
    record, transition = _entry()

    def claimed() -> None:
        told = threading.Event()
        claim = decide.claim(record, "worker", NOW)
        assert claim is not None
        storage.submit([(record, claim)], lambda error: None)
        record.progress = 50.0
        storage.touch(record)
        storage.submit([_entry()], lambda error: told.set())
        assert told.wait(PATIENCE)

    held = Held(storage)
    storage.submit([(record, transition)], lambda error: None)
    meanwhile.append(claimed)
    progress = "select status, progress from tasks where seq = 1"
    before = storage.in_writer(lambda db: db.execute(progress).fetchall())
    held.let_go()
    assert [("pending", 0.0)] == before.result(PATIENCE)
    after = storage.in_writer(lambda db: db.execute(progress).fetchall())
    assert [("started", 50.0)] == after.result(PATIENCE)


def test_tables_that_were_brought_up_in_part_go_on_from_there_after_a_crash(
    tmp_path: Path, storage: DuckDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "AT_ONCE_ROWS", 1)
    held, told = Held(storage), threading.Event()
    for _ in range(3):
        storage.submit([_entry(), _entry()], lambda error: None)
    storage.submit([_entry()], lambda error: told.set())
    assert told.wait(PATIENCE)
    images = []

    def copied(position: int) -> None:
        folder = tmp_path / str(position)
        folder.mkdir()
        for one in [storage.path, *files_beside(storage.path)]:
            shutil.copyfile(one, folder / one.name)
        images.append(folder / storage.path.name)

    fold = folding.Folding._fold_some

    def watched(self: folding.Folding) -> None:
        fold(self)
        copied(self.pending.position)

    monkeypatch.setattr(folding.Folding, "_fold_some", watched)
    held.let_go()
    storage.in_writer(lambda _: None).result(PATIENCE)
    assert 7 == storage._folding.pending.position
    assert images
    for image in images:
        other = DuckDBStorage(image)
        other.open_sync()
        seqs = "select list(seq order by seq) from transitions"
        [(found,)] = other.in_writer(lambda db, sql=seqs: db.execute(sql).fetchall()).result()
        other.close_sync()
        assert [1, 2, 3, 4, 5, 6, 7] == found


def test_questions_without_a_pause_keep_no_checkpoint_from_being_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "SHARE", 1 << 40)  # one is due after each fold
    made: list[int] = []
    make = checkpoints.Checkpoints.make

    def counted(self: checkpoints.Checkpoints, position: int) -> bool:
        made.append(position)
        return make(self, position)

    monkeypatch.setattr(checkpoints.Checkpoints, "make", counted)
    storage = DuckDBStorage(tmp_path / "tasks.duckdb")
    storage.open_sync()
    held = Held(storage)
    storage.submit([_entry()], lambda error: None)
    first = storage.in_writer(lambda _: len(made))
    second = storage.in_writer(lambda _: len(made))
    held.let_go()
    assert (0, 1) == (first.result(PATIENCE), second.result(PATIENCE))
    storage.close_sync()


# -- what is counted --------------------------------------------------------------------


def test_writes_are_counted_right_when_a_group_ends_while_one_is_handed_over(
    storage: DuckDBStorage,
) -> None:
    ended = threading.Event()
    storage._journal._writing.acquire()

    class Count(int):
        """A number of records; while it is added for the first time, the group before ends."""

        def __radd__(self, other: int) -> int:
            if storage._journal._writing.locked() and not ended.is_set():
                storage._journal._writing.release()
                assert ended.wait(PATIENCE)
            return int(self) + other

    record, transition = _entry()
    storage.submit([(record, transition)], lambda error: ended.set())
    storage._journal.submit(Write(b"", Count(0), lambda error: None))
    storage.in_writer(lambda _: None).result(PATIENCE)
    assert 0 == storage._journal.pending_rows
    assert 0 == storage._lag_rows()
    assert 0 == storage._folding.pending.rows


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_counted_that_is_over(
    storage: DuckDBStorage, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    told: list[BaseException | None] = []
    if fails:
        monkeypatch.setattr(Segments, "append", _refuse)
    for _ in range(10):
        storage.submit([_entry()], told.append)
    storage.in_writer(lambda _: None).result(PATIENCE)
    journal, pending = storage._journal, storage._folding.pending
    assert [fails] * 10 == [error is not None for error in told]
    assert (0, 0, 0) == (journal.pending_rows, pending.rows, pending.bytes)
    assert 0 == storage._lag_rows()
    assert journal.bytes_in == journal.bytes_refused + pending.bytes_out
    monkeypatch.undo()


def _refuse(segments: Segments, group: Group) -> None:
    raise OSError(28, "No space left on device")


# -- who is told --------------------------------------------------------------------------


async def test_a_failed_group_reaches_every_caller_also_those_behind_a_progress_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = DuckDBStorage(tmp_path / "tasks.duckdb")
    await storage.open()
    known, transition = _entry()
    await _written(storage, (known, transition))

    monkeypatch.setattr(Segments, "append", _refuse)
    first = asyncio.ensure_future(_written(storage, _entry()))
    await asyncio.sleep(0)
    storage.touch(known)
    second = asyncio.ensure_future(_written(storage, _entry()))
    async with asyncio.timeout(PATIENCE):
        errors = await asyncio.gather(first, second, return_exceptions=True)
    assert [StorageError, StorageError] == [type(error) for error in errors]
    monkeypatch.undo()
    await storage.close()


async def test_what_goes_wrong_after_a_write_keeps_nobody_else_waiting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = DuckDBStorage(tmp_path / "tasks.duckdb")
    await storage.open()

    def broken(error: BaseException | None) -> None:
        raise LookupError("a bug")

    storage.submit([_entry()], broken)
    other = asyncio.ensure_future(_written(storage, _entry()))
    async with asyncio.timeout(PATIENCE):
        await other
    assert "LookupError: a bug" in caplog.text
    await storage.close()


async def test_callers_are_told_in_the_order_of_their_writes_whoever_wrote_them(
    tmp_path: Path,
) -> None:
    storage = DuckDBStorage(tmp_path / "tasks.duckdb")
    await storage.open()
    told: list[int] = []
    records = [_entry() for _ in range(200)]
    for number, entry in enumerate(records):
        storage.submit(
            [entry],
            lambda error, number=number: told.append(number),  # type: ignore[misc]
            urgent=number % 3 == 0,
        )
        if number % 7 == 0:
            await asyncio.sleep(0)  # at its end a few of them are written here
    await storage.flush()
    await asyncio.sleep(0)
    assert [*range(200)] == told
    found = await storage.get_many([record.id for record, _ in records])
    assert [*range(1, 201)] == [found[record.id].seq for record, _ in records]
    await storage.close()


async def _written(storage: DuckDBStorage, entry: Entry) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(error: BaseException | None) -> None:
        future.set_result(None) if error is None else future.set_exception(error)

    storage.submit([entry], done)
    await future


# -- reads ----------------------------------------------------------------------------------


async def test_tasks_that_run_are_there_after_a_crash_although_no_table_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "QUIET_SECONDS", 1_000.0)  # nothing folds by itself
    monkeypatch.setattr(folding, "FOLD_SECONDS", 1_000.0)
    home = DuckDBHome(tmp_path / "tasks.duckdb")
    queue, gate = home.queue(), Gate()

    @queue.task(name="wait")
    async def wait(who: int) -> None:
        await gate.wait(who)

    async with queue:
        await queue.start_workers("default", 3)
        handles = [await wait.enqueue(number) for number in range(3)]
        await gate.arrivals(3)
        assert 6 == queue.storage._folding.pending.rows
        folder = tmp_path / "crashed"
        folder.mkdir()
        for one in [home.path, *files_beside(home.path)]:
            shutil.copyfile(one, folder / one.name)
        async with DuckDBHome(folder / home.path.name).queue() as crashed:
            found = [await crashed.get_task_info(handle.id) for handle in handles]
        gate.open()
    assert [handle.id for handle in handles] == [info.id for info in found if info is not None]


async def test_a_page_is_whole_although_tasks_are_claimed_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = DuckDBHome(tmp_path / "tasks.duckdb").queue()

    @queue.task
    async def noop(number: int) -> None: ...

    tasks = wide.tasks

    def interrupted(*arguments: Any) -> list[TaskRecord]:  # it is known by now which ones
        queue.storage.in_writer(
            lambda connection: connection.execute(
                "update tasks set status = 'started' where seq = 2"
            ).fetchall()
        ).result(PATIENCE)
        return tasks(*arguments)

    async with queue:
        await noop.enqueue_many([(number,) for number in range(5)])
        await queue.get_tasks()  # folded
        monkeypatch.setattr(wide, "tasks", interrupted)
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
