"""What the lock file says of the owner to other processes of its user."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wopr.domain.clock import Clock, SystemClock
from wopr.storage.duckdb.disk import beside

SIZE = 512
RESERVED_SECONDS = 1.0
"""So long a file that was given up is left to its receiver; to lock it takes milliseconds."""
_DEAF = "deaf"
_RECEIVER, _UNTIL = "receiver", "until"
COMING = "coming"
"""In the lock file while a queue opens or closes the file: somebody will listen soon."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Who has a file, and whether other processes can use it meanwhile."""

    pid: int | None = None
    """``None``: nobody has signed."""
    deaf: int | None = None
    """Why the owner can't listen: the system's number of the error."""
    reserved: int | None = None
    """The pid of the receiver, as it calls itself, while nobody else may take the file."""
    coming: bool = False
    """Whether a queue opens or closes it just now: whoever waits a little is answered."""


def signature_of(database: Path) -> Signature:
    """Return what the lock file says; nothing if it can't be read."""
    with contextlib.suppress(OSError), _opened(database, os.O_RDONLY) as descriptor:
        found = _read(descriptor)
        receiver = receiver_in(found, SystemClock())
        return Signature(
            _number(found.get("pid")),
            _number(found.get(_DEAF)),
            receiver,
            found.get(COMING) is True or receiver is not None,
        )
    return Signature()


def sign_coming(database: Path, *, coming: bool, receiver: int | None = None) -> None:
    """Let the owner, who has signed, tell whether it opens or closes the file just now.

    Best effort: without it, who asks waits less long.

    Args:
        database: the file.
        coming: whether it does.
        receiver: who gets the file from it; ``None``: who comes first.
    """
    _sign_more(database, {COMING: coming, **({_RECEIVER: receiver} if receiver else {})})


def left_to(found: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Return what the owner leaves in the lock file; empty if it names nobody."""
    receiver = _number(found.get(_RECEIVER))
    if receiver is None:
        return {}
    return {_RECEIVER: receiver, _UNTIL: clock.monotonic() + RESERVED_SECONDS}


def receiver_in(found: dict[str, Any], clock: Clock) -> int | None:
    """Return who alone may take the file now, by what an owner has left in the lock file."""
    until = found.get(_UNTIL)
    if isinstance(until, float) and 0.0 < until - clock.monotonic() <= RESERVED_SECONDS:
        return _number(found.get(_RECEIVER))
    return None


def sign_deaf(database: Path, error: int) -> None:
    """Let the owner, who has signed, tell that it can't listen.

    Best effort: it is told to whoever reads its log, too.
    """
    _sign_more(database, {_DEAF: error})


def _sign_more(database: Path, more: dict[str, int | bool]) -> None:
    with contextlib.suppress(OSError), _opened(database, os.O_RDWR) as descriptor:
        found = _read(descriptor)
        if found.get("pid") == os.getpid():
            line = {**found, **more}
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
