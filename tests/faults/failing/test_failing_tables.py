"""DuckDB fails, and the journal does not: everybody is acknowledged, questions are refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from faults.failing.conftest import PATIENCE, TablesFault, fresh, until
from support.audit import audit, clean
from support.queues import files_beside
from wopr import TaskQueue, TaskStatus, current_task
from wopr.domain.errors import StorageError
from wopr.storage.duckdb import base, folding, reads, writecalls
from wopr.storage.duckdb.doctor import check
from wopr.storage.duckdb.file.opening import OpenedDatabase
from wopr.storage.duckdb.journal.scan import segments

FULL = duckdb.TransactionException("could not write all bytes: No space left on device")
FATAL = duckdb.FatalException("FATAL Error: the disk went away")
INTERNAL = duckdb.InternalException("INTERNAL Error: an assertion of DuckDB")
ROW = duckdb.ConversionException("Conversion Error: this is no number")
FOREVER = 1_000_000
SPAN = 1.5
"""Seconds in which a busy loop would show."""

ERRORS = pytest.mark.parametrize("error", [FULL, FATAL, INTERNAL], ids=lambda e: type(e).__name__)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what failed be tried again soon."""
    monkeypatch.setattr(folding, "BACK_OFF_SECONDS", 0.01)


def _counted(queue: TaskQueue) -> tuple[Any, list[tuple[str, int]]]:
    runs: list[tuple[str, int]] = []

    @queue.task(name="double", category="c")
    async def double(n: int) -> int:
        runs.append((current_task().id, current_task().attempt))
        return n * 2

    return double, runs


def _out_of_reach(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the database not be opened again until what is returned is called."""
    reopen = OpenedDatabase.reopen

    def failing(opened: OpenedDatabase) -> None:
        opened.disconnect()
        raise duckdb.IOException("IO Error: the disk is not there")

    monkeypatch.setattr(OpenedDatabase, "reopen", failing)
    return lambda: monkeypatch.setattr(OpenedDatabase, "reopen", reopen)


async def _ids(queue: TaskQueue) -> set[str] | None:
    """Return the ids of all tasks; ``None`` while questions are refused."""
    try:
        return {info.id for info in await queue.get_tasks(limit=1_000)}
    except StorageError:
        return None


async def _until_readable(queue: TaskQueue, expected: set[str]) -> None:
    """Wait until questions are answered; whatever is answered has to be right."""

    async def readable() -> bool:
        found = await _ids(queue)
        assert found in (None, expected)
        return found is not None

    await until(readable)


# -- for a while --------------------------------------------------------------------


@ERRORS
async def test_all_goes_on_while_duckdb_fails_but_questions_which_name_the_lag(
    queue: TaskQueue, tables: TablesFault, impatient: None, error: Exception
) -> None:
    double, runs = _counted(queue)
    await queue.start_workers("c", 2)
    tables.arm(FOREVER, before=error)
    handles = [await double.enqueue(n) for n in range(20)]
    for number, handle in enumerate(handles):
        assert number * 2 == await handle.result(timeout=PATIENCE)
        assert TaskStatus.SUCCESS is (await handle.info()).status
    assert 20 == len(runs)

    with pytest.raises(StorageError, match="The journal is ahead by 60 changes"):
        await queue.get_tasks()
    with pytest.raises(StorageError, match="The journal is ahead by 60 changes"):
        await queue.sql("select count(*) from tasks")
    tables.mend()

    await _until_readable(queue, {handle.id for handle in handles})
    assert {"success": 20} == (await queue.get_task_stats())["by_status"]


@ERRORS
@pytest.mark.parametrize("times", [1, 3])
async def test_a_fold_that_fails_is_repeated_and_loses_nothing(
    queue: TaskQueue, tables: TablesFault, impatient: None, error: Exception, times: int
) -> None:
    double, _ = _counted(queue)
    tables.arm(times, before=error)
    handles = await double.enqueue_many([(n,) for n in range(50)])

    await _until_readable(queue, {handle.id for handle in handles})


@ERRORS
async def test_a_fold_that_fails_after_its_commit_is_not_written_twice(
    queue: TaskQueue, tables: TablesFault, impatient: None, error: Exception
) -> None:
    double, _ = _counted(queue)
    tables.arm(2, after=error)
    await queue.start_workers("c", 2)
    handles = await double.enqueue_many([(n,) for n in range(50)])
    for handle in handles:
        await queue.wait(handle.id, timeout=PATIENCE)

    await _until_readable(queue, {handle.id for handle in handles})
    assert tables.times < 2
    assert {"success": 50} == (await queue.get_task_stats())["by_status"]


async def test_what_was_stored_before_the_error_is_not_written_twice(
    queue: TaskQueue, tables: TablesFault, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Halves of a batch are committed one by one when a record is bad: then the disk fails."""
    double, _ = _counted(queue)
    apply = tables.apply
    errors = [ROW, None, FULL]  # all of it, the first half, the second half

    def failing(connection: Any, work: Any, syncing: Any) -> None:
        error = errors.pop(0) if errors else None
        if error is not None:
            raise fresh(error)
        apply(connection, work, syncing)

    tables.replace(failing)
    handles = await double.enqueue_many([(n,) for n in range(50)])

    await _until_readable(queue, {handle.id for handle in handles})
    assert [] == errors


async def test_reads_recover_by_themselves_when_the_file_is_back(
    queue: TaskQueue, tables: TablesFault, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    double, _ = _counted(queue)
    await queue.start_workers("c", 1)
    kept = await double.enqueue(1)
    await queue.wait(kept.id, timeout=PATIENCE)
    await queue.pause("c")
    assert {kept.id} == await _ids(queue)
    back = _out_of_reach(monkeypatch)
    tables.arm(1, before=FATAL)
    second = await double.enqueue(2)
    with pytest.raises(StorageError):
        await queue.get_tasks()
    await until(lambda: tables.times == 0)
    with pytest.raises(StorageError):
        await queue.get_tasks()
    assert TaskStatus.PENDING is (await second.info()).status  # of which memory knows
    for _ in range(2):
        with pytest.raises(StorageError):
            await kept.info()
    back()

    await _until_readable(queue, {kept.id, second.id})  # nobody writes


async def test_a_read_that_finds_the_database_invalid_has_it_opened_again(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    double, _ = _counted(queue)
    handle = await double.enqueue(1)
    reopened = 0
    find, reopen = reads.find, OpenedDatabase.reopen

    def counted(opened: OpenedDatabase) -> None:
        nonlocal reopened
        reopened += 1
        reopen(opened)

    def failing(*arguments: Any) -> Any:
        monkeypatch.setattr(reads, "find", find)
        raise FATAL

    monkeypatch.setattr(OpenedDatabase, "reopen", counted)
    monkeypatch.setattr(reads, "find", failing)
    assert [handle.id] == [info.id for info in await queue.get_tasks()]  # it is read once more
    assert 1 == reopened


async def test_a_fold_that_keeps_failing_is_tried_once_a_second(
    queue: TaskQueue, tables: TablesFault
) -> None:
    double, _ = _counted(queue)
    tables.arm(FOREVER, before=FULL)
    handles = await double.enqueue_many([(n,) for n in range(20)])
    await until(lambda: tables.tried > 0)
    used, began = time.process_time(), time.monotonic()
    await asyncio.sleep(SPAN)
    span = time.monotonic() - began
    assert tables.tried <= 2 + span
    assert time.process_time() - used < span / 2
    tables.mend()
    await queue.start_workers("c", 2)

    for handle in handles:
        await queue.wait(handle.id, timeout=PATIENCE)


# -- for good -----------------------------------------------------------------------


async def test_after_a_while_nothing_new_is_accepted_and_what_runs_can_end(
    path: Path,
    queue: TaskQueue,
    tables: TablesFault,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "LAG_ROWS", 30)
    monkeypatch.setattr(base, "LAG_SECONDS", 0.1)
    monkeypatch.setattr(base, "SLOWER_FROM", base.FOR_ADDS)
    double, _ = _counted(queue)
    began, go_on = asyncio.Event(), asyncio.Event()

    @queue.task(name="held", category="held")
    async def held() -> str:
        began.set()
        await go_on.wait()
        return "done"

    await queue.start_workers("held", 1)
    running = await held.enqueue()
    await asyncio.wait_for(began.wait(), PATIENCE)
    tables.arm(FOREVER, before=FULL)
    accepted = []
    while not queue.storage.full:
        accepted.append((await double.enqueue(len(accepted))).id)
    assert 20 < len(accepted) < 40
    with pytest.raises(StorageError, match=r"No space left on device\. What runs goes on"):
        await double.enqueue(1)
    for refused in (double.enqueue_many([(1,)]), double.options(unique_key="k").enqueue(1)):
        with pytest.raises(StorageError, match=r"no progress for 0\.1 s"):
            await refused
    go_on.set()
    assert "done" == await running.result(timeout=PATIENCE)
    expected = {running.id, *accepted}

    image = _crash_image(path)
    tables.mend()
    assert expected == clean(image).folded.keys(), "a crash loses nothing"
    await until(lambda: not queue.storage.full)
    last = await double.enqueue(1)
    assert {*expected, last.id} == await _ids(queue)


def _crash_image(path: Path) -> Path:
    """Return a copy of what a SIGKILL would leave, if nothing is written just now."""
    image = path.with_name("crashed.duckdb")
    for source in [path, *files_beside(path)]:
        image.with_name(image.name + source.name[len(path.name) :]).write_bytes(source.read_bytes())
    return image


async def test_a_shutdown_gives_the_file_free_although_nothing_can_be_written(
    path: Path, tables: TablesFault, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = TaskQueue(enabled=True, database=path)
    double, _ = _counted(queue)
    handles = [await double.enqueue(1)]
    back = _out_of_reach(monkeypatch)
    tables.arm(FOREVER, before=FATAL)
    handles.append(await double.enqueue(2))
    await queue.shutdown()
    assert segments(path), "the tables lack something, so the journal stays"

    back()
    tables.mend()
    async with TaskQueue(enabled=True, database=path) as again:
        assert {handle.id for handle in handles} == await _ids(again)
    assert [] == segments(path)


# -- a record that DuckDB refuses -------------------------------------------------------


@pytest.mark.parametrize("opening", [False, True])
@pytest.mark.parametrize("count", [1, 7, 300])
async def test_a_record_that_duckdb_refuses_is_set_aside_and_all_others_are_there(
    path: Path, monkeypatch: pytest.MonkeyPatch, count: int, opening: bool
) -> None:
    queue = TaskQueue(enabled=True, database=path)
    double, _ = _counted(queue)
    encode = writecalls.transition_record

    def spoiled(record: Any, transition: Any) -> str:
        line = encode(record, transition)
        return line.replace(record.id, "no id") if record.args == "[13]" else line

    monkeypatch.setattr(writecalls, "transition_record", spoiled)
    async with queue:
        before = await double.enqueue_many([(100 + n,) for n in range(count)])
        bad = await double.enqueue(13)
        after = await double.enqueue_many([(500 + n,) for n in range(count)])
        good = {handle.id for handle in [*before, *after]}
        if opening:
            path = _crash_image(path)
        else:
            assert good == await _ids(queue)
            [row] = await queue.sql("select position, record, error from refused_records")
            assert count + 1 == row["position"]
            assert "no id" in row["record"]
            assert "no id" in row["error"]
    if opening:  # its journal is what knows them
        async with TaskQueue(enabled=True, database=path) as again:
            assert good == await _ids(again)
    [problem] = check(path).problems
    assert f"refused the journal's record {count + 1}" in str(problem)
    found = audit(path, whole=True)
    assert [f"DuckDB refused record {count + 1} of the journal"] == found.problems
    assert good == found.rows.keys()
    assert bad.id not in found.logs
