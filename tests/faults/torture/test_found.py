"""What torture found: an operation that failed, and what had to be so afterwards."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import duckdb
import pytest

from faults.torture.older import write_older_file
from support.audit import clean
from support.databases import bytes_of
from wopr.domain.clock import new_identity
from wopr.domain.errors import StorageFileError
from wopr.storage.duckdb import compact as module
from wopr.storage.duckdb import start as start_module
from wopr.storage.duckdb.compact import compact
from wopr.storage.duckdb.file import migrate, opening
from wopr.storage.duckdb.file.lock import FileLock
from wopr.storage.duckdb.journal.scan import examine, segments
from wopr.storage.duckdb.journal.segment import Segment
from wopr.storage.duckdb.start import open_settled, start


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.duckdb"


def broken(*_: Any, **__: Any) -> Any:
    """Fail as a broken disk does."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_lock_is_free_after_its_release_even_if_that_could_not_be_noted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = FileLock(path)
    mine.acquire()
    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", broken)
        mine.release()
    other = FileLock(path)
    other.acquire()
    other.release()


def test_a_lock_holds_even_if_nobody_can_be_told_whose_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = FileLock(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", broken)
        mine.acquire()
    assert mine.held
    mine.release()


def test_a_segment_that_cannot_be_deleted_is_locked_no_longer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = path.with_name("tasks.duckdb.journal-1")
    made = Segment.prepare(file, 4096)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", broken)
        made.remove()
    Segment.adopt(examine(file)).close()


def test_a_segment_whose_end_was_cut_off_is_refused(path: Path) -> None:
    started = start(path)
    started.abandon()
    [file] = segments(path)
    size = file.stat().st_size
    os.truncate(file, size - 1)
    with pytest.raises(StorageFileError, match=f"cut from {size} to {size - 1} bytes"):
        open_settled(path)
    os.truncate(file, size)
    open_settled(path).close()


def test_an_opening_that_can_make_no_segment_says_so_and_lets_go(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Segment, "prepare", broken)
        with pytest.raises(StorageFileError, match="Check the disk"):
            start(path)
    start(path).close()


def test_an_opening_that_cannot_begin_its_segment_lets_go_of_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Segment, "begin", broken)
        with pytest.raises(StorageFileError, match="Check the disk"):
            start(path)
    start(path).close()


def test_a_compaction_that_fails_says_so_and_lets_go(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(path).close()
    with monkeypatch.context() as patch:
        patch.setattr(module, "install", broken)
        with pytest.raises(StorageFileError, match="could not be compacted"):
            compact(path)
    compact(path)


SECTOR = 512


class LostSector:
    """Takes down what a power cut leaves in a long write to DuckDB's log: not the first sector."""

    def __init__(self, path: Path, folder: Path) -> None:
        folder.mkdir()
        self.path = path
        self.left = folder / path.name
        self._log = path.with_name(f"{path.name}.wal")
        self._synced = b""

    def begin(self) -> None:
        """Note what is on disk; the write comes."""
        self._synced = self._log.read_bytes()

    def end(self) -> None:
        """Write what may be left when the first sector is as it was."""
        log = self._log.read_bytes()
        assert len(log) > SECTOR
        first = self._synced[:SECTOR].ljust(SECTOR, b"\0")
        self.left.with_name(self._log.name).write_bytes(first + log[SECTOR:])
        self.left.write_bytes(self.path.read_bytes())


def test_a_power_cut_in_the_first_commit_of_an_upgrade_costs_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_older_file(path)
    cut = LostSector(path, tmp_path / "cut")
    upgrade = migrate.upgrade

    def noted(connection: duckdb.DuckDBPyConnection) -> None:
        cut.begin()
        upgrade(connection)
        cut.end()

    monkeypatch.setattr(migrate, "upgrade", noted)
    open_settled(path).close()
    monkeypatch.undo()
    open_settled(cut.left).close()
    assert 6 == len(clean(cut.left, whole=True).folded)


def test_a_power_cut_while_a_new_file_learns_its_name_costs_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = LostSector(path, tmp_path / "cut")
    prepare = Segment.prepare

    def named() -> bytes:
        cut.begin()
        return new_identity()

    def noted(file: Path, size: int) -> Segment:
        cut.end()
        return prepare(file, size)

    monkeypatch.setattr(start_module, "new_identity", named)
    monkeypatch.setattr(Segment, "prepare", noted)
    start(path).close()
    monkeypatch.undo()
    start(cut.left).close()


def test_a_header_that_a_failed_checkpoint_left_is_on_disk_before_the_log_goes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_older_file(path)
    before = bytes_of(path)
    assert 2 == len(before)
    with monkeypatch.context() as patch:
        patch.setattr(opening, "sync_file", broken)
        with pytest.raises(StorageFileError, match="Input/output error"):
            start(path)
    assert before == bytes_of(path)
    start(path).close()


async def test_a_socket_that_cannot_be_deleted_is_no_reason_to_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wopr import TaskQueue

    queue = TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb")

    @queue.task(name="one", category="c")
    async def one() -> None: ...

    await queue.start_workers("c", 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", broken)
        await queue.shutdown(timeout=0)
    await queue.start_workers("c", 1)
    await queue.shutdown(timeout=0)
