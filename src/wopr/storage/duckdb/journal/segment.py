"""One file of the journal, to which groups are appended."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from wopr.config.forks import close_in_children
from wopr.storage.duckdb import disk
from wopr.storage.duckdb.journal.format import GROUP_SIZE, START, Group, Header, pack_group
from wopr.storage.duckdb.journal.scan import Found
from wopr.storage.duckdb.private import create_own, open_own

if sys.platform != "win32":
    import fcntl

_ZEROS = bytes(1024 * 1024)


class Segment:
    """Space on disk that is ours, and how much of it holds acknowledged records.

    Its space is written and synced beforehand, zeros: to sync into space that is only
    reserved would write the file system's own journal each time.
    """

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self._name = str(path)  # looked at with each write: a Path costs more than the look
        self.size = size
        self.header: Header
        self.end = START
        """Behind the last group that was synced."""
        self.last = 0
        """Position of the last record there."""
        self.descriptor = descriptor
        self._checksum = 0
        self._before = START, 0
        self._inode = os.fstat(descriptor).st_ino
        close_in_children(self)

    @classmethod
    def prepare(cls, path: Path, size: int) -> Segment:
        """Create the file with all of its space, durably, its name included.

        Raises:
            OSError: There is no room for it, for example; no part of it is left.
        """
        descriptor = create_own(path)
        try:
            lock(descriptor)
            for at in range(0, size, len(_ZEROS)):
                disk.write_all(descriptor, _ZEROS[: size - at], at)
            disk.sync(descriptor)
            disk.sync_directory(path.parent)
        except BaseException:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        return cls(path, descriptor, size)

    @classmethod
    def adopt(cls, found: Found) -> Segment:
        """Open one that an earlier process left, as it was found.

        Raises:
            BlockingIOError: That process is alive, and writes to it.
        """
        descriptor = open_own(found.path, os.O_RDWR)
        try:
            lock(descriptor)
            segment = cls(found.path, descriptor, found.size)
        except BaseException:
            os.close(descriptor)
            raise
        if found.header is not None:
            segment.header, segment.end, segment.last = found.header, found.end, found.last
        return segment

    def begin(self, header: Header, groups: Sequence[Group] = ()) -> None:
        """Write the header: from here on what an earlier use left behind does not count.

        ``groups`` are on disk before the header is.
        """
        self.header = header = replace(header, size=self.size)
        self.end, self.last, self._checksum = START, header.first - 1, 0
        for group in groups:
            self.append(group, synced=False)
        if groups:
            disk.sync(self.descriptor)
        disk.writer(self.descriptor, header.pack(), 0)

    def fits(self, length: int) -> bool:
        """Whether so many bytes have room behind what is there."""
        return self.end + length <= self.size

    def append(self, group: Group, *, synced: bool) -> None:
        """Write a group behind the last one; return when it is on disk, if ``synced``.

        Raises:
            OSError: Whether it is on disk is not known: nothing may be appended any more.
        """
        content, checksum = pack_group(self.header, group, self._checksum)
        write = disk.writer if synced else disk.write_all
        write(self.descriptor, content, self.end)
        self._before = self.end, self.last
        self.end += len(content)
        self.last, self._checksum = group.last, checksum

    def retract(self, position: int) -> None:
        """Make what lies behind a record unreadable, as far as the disk obeys.

        It is the last group, which failed or must not count.
        """
        if self.last > position:
            self.end, self.last = self._before
        with contextlib.suppress(OSError):
            disk.writer(self.descriptor, bytes(GROUP_SIZE), self.end)

    def content(self) -> bytes:
        """Return the bytes up to the end of the last group."""
        parts: list[bytes] = []
        at = 0
        while at < self.end and (part := os.pread(self.descriptor, self.end - at, at)):
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    def trouble(self) -> str | None:
        """Say what somebody did to the file under its name; ``None`` if it is in place."""
        try:
            found = os.stat(self._name)
        except FileNotFoundError:
            return "was deleted or moved"
        except OSError as error:
            return f"can't be looked at: {error}"
        if found.st_ino != self._inode:
            return "was replaced by another file"
        if found.st_size < self.size:
            return f"was cut from {self.size} to {found.st_size} bytes"
        return None

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    forget = close
    """A forked child does the same: else the lock would last as long as the child."""

    def remove(self) -> None:
        """Delete the file; the directory is for the caller to sync.

        One that can't be deleted stays until the next opening: it does not count any more.
        """
        with contextlib.suppress(OSError):  # else the lock of it would last with the process
            self.path.unlink()
        self.close()


def lock(descriptor: int) -> None:
    """Keep other processes from writing to the file.

    Raises:
        BlockingIOError: One does.
    """
    if sys.platform != "win32":
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
