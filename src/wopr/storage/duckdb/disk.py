"""What makes bytes and names durable, on each kind of system."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

if sys.platform != "win32":
    import fcntl

F_FULLFSYNC = 51
"""What makes macOS empty the cache of the drive itself; its ``fsync`` does not."""
_NO_SUCH_ORDER = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL}
"""What a file system says that has no such cache, or does not know: one of the network."""


def beside(path: Path, suffix: str) -> Path:
    """Return the file next to ``path`` whose name has ``suffix`` appended."""
    return path.with_name(path.name + suffix)


def sync(descriptor: int) -> None:
    """Return when the content and the size of an open file are on disk."""
    if sys.platform == "darwin":
        _empty_the_cache(descriptor)
    else:
        os.fsync(descriptor)


def _empty_the_cache(descriptor: int) -> None:
    """Return when the drive has it, on macOS."""
    try:
        fcntl.fcntl(descriptor, F_FULLFSYNC)
    except OSError as error:
        if error.errno not in _NO_SUCH_ORDER:
            raise
        os.fsync(descriptor)


def sync_file(path: Path) -> None:
    """Return when the content of a file is on disk."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Return when the names in the directory are on disk; without effect where unsupported."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            sync(descriptor)
        finally:
            os.close(descriptor)


def write_all(descriptor: int, content: bytes, offset: int) -> None:
    """Write all of ``content``, however few bytes the system takes at once."""
    done = os.pwrite(descriptor, content, offset)
    while done < len(content):
        done += os.pwrite(descriptor, memoryview(content)[done:], offset + done)


def write_synced(descriptor: int, content: bytes, offset: int) -> None:
    """Write all of ``content`` into space that the file has already; return when it is on disk."""
    write_all(descriptor, content, offset)
    if sys.platform == "darwin":
        _empty_the_cache(descriptor)
    else:
        os.fdatasync(descriptor)


def _write_dsync(descriptor: int, content: bytes, offset: int) -> None:
    """Do the same with one call of the system."""
    done = os.pwritev(descriptor, [content], offset, os.RWF_DSYNC)
    if done < len(content):  # a signal or a full disk stopped it half-way
        write_synced(descriptor, content[done:], offset + done)


writer: Callable[[int, bytes, int], None] = (
    _write_dsync if hasattr(os, "RWF_DSYNC") and hasattr(os, "pwritev") else write_synced
)
"""The fastest of the two here; each waits once for the interpreter's lock and once more."""
