"""Files of the journal, and others, go away or fail under a running queue: nothing is lost."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faults.failing.conftest import fresh, until
from support.audit import clean
from support.queues import files_beside
from wopr import TaskQueue
from wopr.domain.errors import StorageError
from wopr.storage.duckdb import disk, folding
from wopr.storage.duckdb.journal import journal, scan, segments
from wopr.storage.duckdb.journal.format import GROUP_MAGIC

BROKEN = OSError(errno.EIO, "Input/output error")
FOLDED = pytest.mark.parametrize("folded", [True, False], ids=["folded", "not folded"])


def _deleted(path: Path) -> None:
    path.unlink()


def _moved(path: Path) -> None:
    path.rename(path.with_name("moved"))


def _replaced(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def _emptied(path: Path) -> None:
    os.truncate(path, 0)


def _halved(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


HARM = pytest.mark.parametrize("harm", [_deleted, _moved, _replaced, _emptied, _halved])


def _store(queue: TaskQueue) -> Any:
    @queue.task(name="store", category="c")
    async def store(text: str) -> int:
        return len(text)

    return store


async def _enqueue(task: Any, count: int) -> set[str]:
    """Enqueue so many tasks, one after the other; return their ids."""
    return {(await task.enqueue(f"{number:>200}")).id for number in range(count)}


def _left_by_a_kill(path: Path, and_then: Callable[[Path], None] = lambda image: None) -> set[str]:
    """Return the ids of the tasks that are there if the process is killed now."""
    folder = path.with_name(f"killed-{time.monotonic_ns()}")
    folder.mkdir()
    for one in [path, *files_beside(path), path.with_name(f"{path.name}.lock")]:
        (folder / one.name).write_bytes(one.read_bytes())
    and_then(folder / path.name)
    return set(clean(folder / path.name).folded)


def _active(path: Path) -> Path:
    """Return the segment that is written to."""
    used = [one for one in map(scan.examine, scan.segments(path)) if one.header is not None]
    return max(used, key=lambda one: one.header.generation if one.header else 0).path


@pytest.fixture
def slow_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tables be brought up for questions only."""
    monkeypatch.setattr(folding, "QUIET_SECONDS", 1_000.0)
    monkeypatch.setattr(folding, "FOLD_SECONDS", 1_000.0)


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "FIRST_BYTES", 4096)
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 4096)


# -- the segment that is written to --------------------------------------------------------


@HARM
@FOLDED
async def test_a_segment_that_goes_away_costs_nothing(
    path: Path, slow_folds: None, queue: TaskQueue, harm: Callable[[Path], None], folded: bool
) -> None:
    store = _store(queue)
    known = await _enqueue(store, 20)
    if folded:
        await queue.get_tasks()
    harm(_active(path))

    known |= await _enqueue(store, 20)
    assert known == _left_by_a_kill(path)
    known |= await _enqueue(store, 20)
    assert known == _left_by_a_kill(path)
    assert known == {info.id for info in await queue.get_tasks()}


@HARM
@FOLDED
async def test_a_segment_that_goes_away_while_all_is_quiet_is_noticed(
    path: Path,
    slow_folds: None,
    monkeypatch: pytest.MonkeyPatch,
    queue: TaskQueue,
    harm: Callable[[Path], None],
    folded: bool,
) -> None:
    monkeypatch.setattr(journal, "WATCH_SECONDS", 0.01)
    known = await _enqueue(_store(queue), 20)
    if folded:
        await queue.get_tasks()
    harmed = _active(path)
    harm(harmed)

    await until(lambda: _active_or_none(path) not in (None, harmed))
    await until(lambda: _left_or_none(path) == known)


def _active_or_none(path: Path) -> Path | None:
    try:
        return _active(path)
    except (ValueError, OSError, StorageError):  # it is being written just now
        return None


@HARM
async def test_an_earlier_segment_that_goes_away_costs_nothing(
    path: Path,
    slow_folds: None,
    short_segments: None,
    monkeypatch: pytest.MonkeyPatch,
    queue: TaskQueue,
    harm: Callable[[Path], None],
) -> None:
    monkeypatch.setattr(journal, "WATCH_SECONDS", 0.01)
    store = _store(queue)
    known = await _enqueue(store, 50)
    files = scan.segments(path)
    harmed = next(one for one in files if one != _active(path))
    harm(harmed)

    await until(lambda: _left_or_none(path) == known)
    known |= await _enqueue(store, 20)
    assert known == _left_by_a_kill(path)


def _left_or_none(path: Path) -> set[str] | None:
    try:
        return _left_by_a_kill(path)
    except (StorageError, OSError):
        return None


async def test_all_segments_that_go_away_cost_nothing(
    path: Path, slow_folds: None, short_segments: None, queue: TaskQueue
) -> None:
    store = _store(queue)
    known = await _enqueue(store, 50)
    for one in scan.segments(path):
        one.unlink()

    known |= await _enqueue(store, 1)
    assert known == _left_by_a_kill(path)


async def test_a_segment_that_always_goes_away_is_an_error_and_all_goes_on_afterwards(
    path: Path, monkeypatch: pytest.MonkeyPatch, queue: TaskQueue
) -> None:
    store = _store(queue)
    known = await _enqueue(store, 5)
    write = disk.writer

    def written_and_deleted(descriptor: int, content: bytes, offset: int) -> None:
        write(descriptor, content, offset)
        if content[: len(GROUP_MAGIC)] == GROUP_MAGIC:
            for one in scan.segments(path):
                one.unlink()

    monkeypatch.setattr(disk, "writer", written_and_deleted)
    with pytest.raises(StorageError, match="deleted or replaced"):
        await store.enqueue("refused")
    monkeypatch.setattr(disk, "writer", write)

    known |= await _enqueue(store, 5)
    assert known == _left_by_a_kill(path)
    assert known == {info.id for info in await queue.get_tasks()}


# -- the beginning of a segment fails --------------------------------------------------------


@pytest.mark.parametrize("landed", [False, True])
async def test_a_segment_whose_header_could_not_be_synced_is_in_nobodys_way(
    path: Path,
    slow_folds: None,
    short_segments: None,
    monkeypatch: pytest.MonkeyPatch,
    queue: TaskQueue,
    landed: bool,
) -> None:
    store = _store(queue)
    known = await _enqueue(store, 1)
    write, failed = disk.writer, []

    def failing(descriptor: int, content: bytes, offset: int) -> None:
        header = content[:8] == b"wopr-jnl"
        if header and len(failed) < 3:
            failed.append(offset)
            if landed:
                write(descriptor, content, offset)
            raise fresh(BROKEN)
        write(descriptor, content, offset)

    monkeypatch.setattr(disk, "writer", failing)
    while len(failed) < 3:
        try:
            known |= await _enqueue(store, 1)
        except StorageError:
            assert failed
        assert known == _left_by_a_kill(path)
    known |= await _enqueue(store, 40)
    assert known == _left_by_a_kill(path)
    assert known == {info.id for info in await queue.get_tasks()}


# -- the database and DuckDB's log --------------------------------------------------------------


@pytest.mark.parametrize("harm", [_deleted, _moved, _replaced, _emptied])
async def test_nothing_is_accepted_while_the_database_file_is_gone(
    path: Path, queue: TaskQueue, harm: Callable[[Path], None]
) -> None:
    store = _store(queue)
    known = await _enqueue(store, 20)
    await queue.get_tasks()
    aside = path.with_name("aside")
    aside.hardlink_to(path)
    content = path.read_bytes()
    harm(path)
    for _ in range(3):
        with pytest.raises(StorageError, match="while process"):
            await store.enqueue("refused")

    if harm is _emptied:
        with path.open("r+b") as file:
            file.write(content)
        aside.unlink()
    else:
        path.with_name("moved").unlink(missing_ok=True)
        aside.replace(path)  # it is back: the queue goes on
    known |= await _enqueue(store, 20)
    assert known == _left_by_a_kill(path)


@HARM
@pytest.mark.parametrize("checkpointed", [False, True])
async def test_a_log_of_duckdb_that_goes_away_costs_nothing(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    queue: TaskQueue,
    harm: Callable[[Path], None],
    checkpointed: bool,
) -> None:
    store = _store(queue)
    known = await _enqueue(store, 50)
    await queue.get_tasks()
    harm(path.with_name(f"{path.name}.wal"))

    known |= await _enqueue(store, 50)
    assert 100 == len(await queue.get_tasks())
    assert known == _left_by_a_kill(path)
    if checkpointed:
        for _ in range(3):
            await _checkpoint(queue)
            known |= await _enqueue(store, 10)
            assert known == _left_by_a_kill(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
async def test_a_first_commit_of_duckdb_that_was_cut_short_costs_nothing(
    path: Path, queue: TaskQueue, share: float
) -> None:
    store = _store(queue)
    known = {(await store.enqueue("x" * 200_000)).id}
    await queue.get_tasks()
    log = path.with_name(f"{path.name}.wal")

    def cut(image: Path) -> None:
        os.truncate(image.with_name(log.name), int(log.stat().st_size * share))

    assert known == _left_by_a_kill(path, cut)


async def _checkpoint(queue: TaskQueue) -> None:
    folding_now = queue.storage._folding

    def make(_: object) -> bool:
        made: bool = folding_now._checkpoints.make(folding_now.pending.position)
        return made

    assert await asyncio.wrap_future(queue.storage.in_writer(make))


# -- a disk that is slow now and then -------------------------------------------------------------


async def test_a_sync_that_takes_its_time_holds_the_loop_up_once(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _store(queue)
    loop = threading.get_ident()
    write, written, slow = disk.writer, 0, list[bool]()

    def sometimes_slow(descriptor: int, content: bytes, offset: int) -> None:
        nonlocal written
        written += content[: len(GROUP_MAGIC)] == GROUP_MAGIC
        if written % 100 == 0:
            slow.append(threading.get_ident() == loop)
            time.sleep(0.05)
        write(descriptor, content, offset)

    monkeypatch.setattr(disk, "writer", sometimes_slow)
    await _enqueue(store, 1_000)
    assert len(slow) >= 8
    assert sum(slow) <= 1
