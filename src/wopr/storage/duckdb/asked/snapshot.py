"""A copy of the database as of one moment, for a process that reads it; nobody waits for it.

The file itself changes in a checkpoint only, and DuckDB's log grows at its end. So a snapshot is
the file and the log up to where it is when the tables hold everything acknowledged. Checkpoints
are held back while it is copied; commits go on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp

from wopr.domain.clock import Clock, SystemClock
from wopr.domain.errors import QueryError, StorageError, WoprError
from wopr.ports.storage import Snapshot
from wopr.storage.duckdb.checkpoints import Checkpoints
from wopr.storage.duckdb.disk import beside, write_all
from wopr.storage.duckdb.file.blocks import HEADERS_SIZE
from wopr.storage.duckdb.file.files import NEW
from wopr.storage.duckdb.file.opening import OpenedDatabase
from wopr.storage.duckdb.private import create_own, open_as_is

if sys.platform != "win32":
    import fcntl

COPY_SECONDS = 10.0
"""So long checkpoints are held back for a query; a copy that takes longer is given up."""
BACKUP_SECONDS = 60.0
"""So long for a backup, which may be of any size."""
LEFT_BYTES = 64 * 1024 * 1024
"""So much room a copy leaves on the disk, for the journal and the log."""
_CHUNK = 8 * 1024 * 1024
_CLONE = 0x40049409
"""Linux: let the new file share the blocks of the old one, where the file system can."""
_NO_COPY = (errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a copy is for, and what it may cost."""

    word: str
    seconds: float
    most_bytes: int | None
    instead: str
    """What to do where that is not enough."""
    error: type[WoprError]
    """What a database is refused with that is too large, or for which there is no room."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """What is to be copied."""

    purpose: Purpose
    moment: datetime
    taken: float
    size: int
    log_size: int
    headers: bytes
    opening: int


class Snapshots:
    """Takes snapshots of one open database."""

    def __init__(
        self,
        opened: OpenedDatabase,
        checkpoints: Checkpoints,
        most_bytes: int,
        clock: Clock | None = None,
    ) -> None:
        self._opened = opened
        self._checkpoints = checkpoints
        self._query_bytes = most_bytes
        self._clock = clock or SystemClock()
        self._opening = 0  # the number of it: a descriptor is one opening's
        self._there: set[Snapshot] = set()
        self._copying = threading.Lock()  # the descriptor is in use

    def for_query(self) -> Purpose:
        """Return what a copy for a query in a process of its own may cost."""
        return Purpose(
            "query",
            COPY_SECONDS,
            self._query_bytes,
            "Ask with queue.sql in the program that has the queue.",
            QueryError,
        )

    def freeze(self, purpose: Purpose) -> Frozen:
        """Hold checkpoints back, and say what a snapshot of now is. In the thread that writes."""
        descriptor = self._descriptor(purpose)
        log = beside(self._opened.path, ".wal")
        taken = time.monotonic()
        self._checkpoints.not_before = taken + purpose.seconds
        return Frozen(
            purpose,
            self._clock.now(),
            taken,
            os.fstat(descriptor).st_size,
            log.stat().st_size if log.exists() else 0,
            os.pread(descriptor, HEADERS_SIZE, 0),
            self._opening,
        )

    def thaw(self) -> None:
        """Let checkpoints be made again."""
        self._checkpoints.not_before = 0.0

    def copy(self, frozen: Frozen) -> Snapshot:
        """Copy what was frozen. In any thread but the one that writes.

        Raises:
            QueryError: it is too large, or the disk has no room for it.
            StorageError: it could not be made in time, or the queue is being closed.
        """
        folder = Path(mkdtemp(prefix=self._opened.path.name + NEW, dir=self._opened.path.parent))
        target = folder / self._opened.path.name
        snapshot = Snapshot(target, frozen.moment, frozen.taken)
        try:
            self._fill(target, frozen)
            with self._using(frozen):
                self._there.add(snapshot)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise self._failed(frozen.purpose, str(error)) from error
            raise
        return snapshot

    def remove(self, snapshot: Snapshot) -> None:
        """Delete one; who has it open goes on reading."""
        shutil.rmtree(snapshot.path.parent, ignore_errors=True)
        self._there.discard(snapshot)

    def give_away(self, snapshot: Snapshot) -> None:
        """Leave one to whoever asked for it, also when the queue is closed."""
        self._there.discard(snapshot)

    def stop(self) -> None:
        """Let go of the file, which is being closed, and delete what was copied."""
        with self._copying:
            self._opening += 1
        for snapshot in list(self._there):
            self.remove(snapshot)

    def _fill(self, target: Path, frozen: Frozen) -> None:
        copy = create_own(target)
        try:
            if not self._cloned(copy, frozen):
                self._check_room(frozen, target.parent)
                self._copy(copy, frozen)
            self._check_unchanged(frozen)
        finally:
            os.close(copy)
        if frozen.log_size:
            log = open_as_is(beside(self._opened.path, ".wal"), os.O_RDONLY)
            try:
                copy = create_own(beside(target, ".wal"))
                try:
                    self._copy(copy, frozen, log)
                finally:
                    os.close(copy)
            finally:
                os.close(log)
            self._check_unchanged(frozen)

    def _copy(self, target: int, frozen: Frozen, log: int | None = None) -> None:
        at, size = 0, frozen.size if log is None else frozen.log_size
        while at < size:
            with self._using(frozen) as descriptor:
                source = descriptor if log is None else log
                done = _copy_some(source, target, at, min(_CHUNK, size - at))
            if not done:
                raise self._failed(frozen.purpose, "it became shorter meanwhile")
            at += done

    def _cloned(self, target: int, frozen: Frozen) -> bool:
        if sys.platform != "linux":
            return False
        with self._using(frozen) as descriptor, contextlib.suppress(OSError):
            fcntl.ioctl(target, _CLONE, descriptor)
            return True
        return False

    @contextlib.contextmanager
    def _using(self, frozen: Frozen) -> Iterator[int]:
        """Give the descriptor of the file for a ``with`` block, if the time is not over."""
        purpose = frozen.purpose
        with self._copying:
            if frozen.opening != self._opening:
                raise self._failed(purpose, "the queue closes it")
            if time.monotonic() > frozen.taken + purpose.seconds:
                raise self._failed(
                    purpose,
                    f"that took longer than {purpose.seconds:g} s, and no checkpoint can be made "
                    f"meanwhile. {purpose.instead.rstrip('.')}",
                )
            yield self._descriptor(purpose)

    def _check_unchanged(self, frozen: Frozen) -> None:
        with self._using(frozen) as descriptor:
            if os.pread(descriptor, HEADERS_SIZE, 0) != frozen.headers:
                raise self._failed(frozen.purpose, "a checkpoint came in between. Try again")

    def _check_room(self, frozen: Frozen, folder: Path) -> None:
        size, purpose = frozen.size + frozen.log_size, frozen.purpose
        what = f"The {purpose.word} was not made: it takes a copy of {self._opened.path}"
        if purpose.most_bytes is not None and size > purpose.most_bytes:
            raise purpose.error(
                f"{what}, which is too large for that: {size // 1_000_000:,} MB, and "
                f"WOPR_TASKS_SNAPSHOT_LIMIT allows {purpose.most_bytes // 1_000_000:,} MB. Raise "
                f"it. {purpose.instead}"
            )
        disk = os.statvfs(folder)
        free = disk.f_bavail * disk.f_frsize
        if size + LEFT_BYTES > free:
            raise purpose.error(
                f"{what} beside it, and its disk has no room for that: {free // 1_000_000:,} MB "
                f"are free, {(size + LEFT_BYTES) // 1_000_000:,} MB are needed. Free some space. "
                f"{purpose.instead}"
            )

    def _descriptor(self, purpose: Purpose) -> int:
        if self._opened.descriptor is None:
            raise self._failed(purpose, "it is being closed or opened")
        return self._opened.descriptor

    def _failed(self, purpose: Purpose, why: str) -> StorageError:
        return StorageError(
            f"{self._opened.path} could not be copied for a {purpose.word}, because {why}. Nothing "
            "else is affected."
        )


BACKUP = Purpose(
    "backup",
    BACKUP_SECONDS,
    None,
    "Stop the queue for the backup, or give it a faster disk.",
    StorageError,
)


def _copy_some(source: int, target: int, at: int, size: int) -> int:
    """Copy a part to the same place; return how much it was."""
    if sys.platform == "linux":
        try:
            return os.copy_file_range(source, target, size, at, at)
        except OSError as error:
            if error.errno not in _NO_COPY:
                raise
    content = os.pread(source, size, at)
    write_all(target, content, at)
    return len(content)
