"""What makes bytes durable on macOS: its ``fsync`` leaves them in the cache of the drive."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from wopr import TaskQueue
from wopr.storage.duckdb import disk
from wopr.storage.duckdb.file.files import copy_private, write_private
from wopr.storage.duckdb.journal.scan import segments


class Mac:
    """What a Mac is told; the drive refuses with ``error``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full: list[Path] = []
        self.half: list[Path] = []
        self.error = 0
        monkeypatch.setattr(disk, "sys", SimpleNamespace(platform="darwin"))
        monkeypatch.setattr(disk, "fcntl", SimpleNamespace(fcntl=self._fcntl))
        monkeypatch.setattr(disk, "writer", disk.write_synced)
        monkeypatch.setattr(os, "fsync", lambda descriptor: self.half.append(_path(descriptor)))
        monkeypatch.delattr(os, "fdatasync")  # it has none

    def _fcntl(self, descriptor: int, order: int) -> int:
        assert order == 51
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        self.full.append(_path(descriptor))
        return 0


def _path(descriptor: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{descriptor}"))


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> Mac:
    if not Path("/proc/self/fd").exists():
        pytest.skip("the names of open files are looked up in /proc")
    return Mac(monkeypatch)


def _write_synced(path: Path) -> None:
    with path.open("r+b") as file:
        disk.write_synced(file.fileno(), b"content", 0)


WAYS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "sync_file": ("file", disk.sync_file),
    "sync_directory": (".", lambda path: disk.sync_directory(path.parent)),
    "write_synced": ("file", _write_synced),
    "copy_private": ("new", lambda path: copy_private(path, path.with_name("new"))),
    "write_private": ("new", lambda path: write_private(path.with_name("new"), b"content")),
}


@pytest.mark.parametrize("way", WAYS)
def test_macos_empties_the_cache_of_the_drive(mac: Mac, tmp_path: Path, way: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    name, act = WAYS[way]
    act(path)
    assert [tmp_path / name] == mac.full
    assert [] == mac.half


async def test_what_macos_acknowledges_has_left_the_cache_of_the_drive(
    mac: Mac, tmp_path: Path
) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb")

    @queue.task(name="one", category="c")
    async def one() -> None: ...

    async with queue:
        [segment] = segments(queue.database)
        assert {segment, tmp_path} <= set(mac.full)
        before = mac.full.count(segment)
        await one.enqueue()
        assert before + 1 == mac.full.count(segment)
    assert [] == mac.half


@pytest.mark.parametrize("error", [errno.ENOTSUP, errno.EINVAL, errno.ENOTTY])
def test_a_file_system_that_knows_no_such_order_is_synced_as_it_can(
    mac: Mac, tmp_path: Path, error: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    mac.error = error
    disk.sync_file(path)
    assert [path] == mac.half


def test_a_drive_that_fails_is_no_file_system_without_that_order(mac: Mac, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    mac.error = errno.EIO
    with pytest.raises(OSError, match="Input/output error"):
        disk.sync_file(path)
    assert [] == mac.half
