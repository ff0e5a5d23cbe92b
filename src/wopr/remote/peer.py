"""Who is at the other end of a socket, as the system says it and not the other end."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LINUX = struct.Struct("3i")
"""``struct ucred``: pid, uid, gid."""
_XUCRED = struct.Struct("2I68x")
"""``struct xucred`` of macOS and the BSDs: version, uid, groups."""
_LOCAL, _PEERCRED, _PEERPID = 0, 1, 2
"""``SOL_LOCAL``, ``LOCAL_PEERCRED`` and ``LOCAL_PEERPID``."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A process at the other end, as it was when it connected or began to listen."""

    uid: int
    pid: int
    """0 where it can't be told: one of another container, for example."""


def peer_of(connection: Any) -> Peer:
    """Return who is at the other end.

    Raises:
        OSError: The system does not tell, so nobody is trusted.
    """
    if sys.platform == "linux":
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _LINUX.size)
        pid, uid, _ = _LINUX.unpack(raw)
        return Peer(uid, pid)
    _, uid = _XUCRED.unpack(connection.getsockopt(_LOCAL, _PEERCRED, _XUCRED.size))
    pid = connection.getsockopt(_LOCAL, _PEERPID) if sys.platform == "darwin" else 0
    return Peer(uid, pid)


def may_talk(peer: Peer) -> bool:
    """Whether it is of the same user, or of root, who could read and write everything anyway."""
    return peer.uid in (0, os.geteuid())


def is_process(peer: Peer, pid: int) -> bool:
    """Whether it may be the process that calls itself ``pid``, in its container perhaps."""
    return peer.pid in (0, pid) or pid in _other_names(peer.pid)


def own_name(pid: int) -> int:
    """Return what the process calls itself, in its container perhaps."""
    return (_other_names(pid) or [pid])[-1]


def _other_names(pid: int) -> list[int]:
    """Return what a process is called in the containers that it is in."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name == "NSpid":
                return [int(word) for word in value.split()]
    return []
