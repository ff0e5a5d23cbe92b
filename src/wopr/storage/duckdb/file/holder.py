"""Whether a program has the database file open, asked before anything is touched.

Our own lock says so of queues. But its file can be deleted, and other programs know
nothing of it: DuckDB's own lock, a record lock on the database file, speaks for those.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from pathlib import Path

from wopr.storage.duckdb.file.lock import owned_error
from wopr.storage.duckdb.private import open_as_is

if sys.platform == "linux":
    import fcntl

_FLOCK = struct.Struct("hhqqi4x")


def refuse_held(path: Path) -> None:
    """Raise if DuckDB has the file open, in this process or another.

    Raises:
        StorageOwnedError: It has.

    """
    if sys.platform != "linux" or not path.exists():
        return  # elsewhere DuckDB says so itself when it is asked to open the file
    if _open_here(path):  # closing a descriptor of ours would drop DuckDB's lock, so none is made
        raise owned_error(path, "this process: duckdb.connect() has it open", os.getpid())
    descriptor = open_as_is(path, os.O_RDONLY)
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    if answer[0] != fcntl.F_UNLCK:
        raise owned_error(path, f"process {answer[4]}, which is not a queue", answer[4])


def _open_here(path: Path) -> bool:
    """Whether this process has a descriptor of the file."""
    wanted = os.stat(path)
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                found = os.stat(f"/proc/self/fd/{name}")
                if os.path.samestat(found, wanted):
                    return True
    return False
