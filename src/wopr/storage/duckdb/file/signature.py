"""What the lock file says of the owner to other processes of its user."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wopr.storage.duckdb.disk import beside

SIZE = 512
_DEAF = "deaf"


@dataclass(frozen=True, slots=True)
class Signature:
    """Who has a file, and whether other processes can use it meanwhile."""

    pid: int | None = None
    """``None``: nobody has signed."""
    deaf: int | None = None
    """Why the owner can't listen: the system's number of the error."""


def signature_of(database: Path) -> Signature:
    """Return what the lock file says; nothing if it can't be read."""
    with contextlib.suppress(OSError), _opened(database, os.O_RDONLY) as descriptor:
        found = _read(descriptor)
        return Signature(_number(found.get("pid")), _number(found.get(_DEAF)))
    return Signature()


def sign_deaf(database: Path, error: int) -> None:
    """Let the owner, who has signed, tell that it can't listen.

    Best effort: it is told to whoever reads its log, too.
    """
    with contextlib.suppress(OSError), _opened(database, os.O_RDWR) as descriptor:
        found = _read(descriptor)
        if found.get("pid") == os.getpid():
            line = {**found, _DEAF: error}
            os.pwrite(descriptor, json.dumps(line).encode().ljust(SIZE - 1) + b"\n", 0)


@contextlib.contextmanager
def _opened(database: Path, flags: int) -> Any:
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(beside(Path(os.path.realpath(database)), ".lock"), flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(descriptor, SIZE, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: object) -> int | None:
    return value if type(value) is int else None
