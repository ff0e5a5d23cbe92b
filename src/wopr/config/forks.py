"""What a forked child does not keep: copies of our descriptors.

A lock lasts, a port stays taken and a peer sees no end for as long as one copy is open
anywhere. That a descriptor is not inherited by programs does not help against ``os.fork()``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Protocol

if sys.platform != "win32":
    import fcntl


class Inherited(Protocol):
    """Holds descriptors that would outlive this process in a forked child."""

    def forget(self) -> None:
        """Let go of the copies that the child has."""
        ...


_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()


def close_in_children(holder: Inherited) -> None:
    """Let every process that is forked from this one let go of its copies at once."""
    _inherited.add(holder)


def take_away(descriptors: Iterable[int]) -> None:
    """Put the null device in the place of each.

    The numbers stay taken: whoever believes to have the old one, and closes it or writes to
    it, meets nobody else's file.
    """
    null = os.open(os.devnull, os.O_RDWR)
    try:
        for descriptor in descriptors:
            os.dup2(null, descriptor, inheritable=False)
    finally:
        os.close(null)


def take_away_sockets(is_ours: Callable[[socket.socket], bool]) -> None:
    """Take away the sockets of which ``is_ours`` says so; also those that nobody knows yet."""
    take_away([number for number in _open() if _is_socket(number, is_ours)])


def take_away_files(is_ours: Callable[[str], bool]) -> None:
    """Take away the files of whose path ``is_ours`` says so, whoever opened them."""
    take_away([number for number in _open() if is_ours(_path_of(number))])


def _open() -> list[int]:
    return [int(name) for name in os.listdir("/dev/fd")]


def _is_socket(number: int, is_ours: Callable[[socket.socket], bool]) -> bool:
    with contextlib.suppress(OSError):  # it was that of the listing, or is not connected
        if stat.S_ISSOCK(os.fstat(number).st_mode):
            found = socket.socket(fileno=number)
            try:
                return is_ours(found)
            finally:
                found.detach()
    return False


def _path_of(number: int) -> str:
    with contextlib.suppress(OSError):
        if sys.platform == "linux":
            return os.readlink(f"/proc/self/fd/{number}").removesuffix(" (deleted)")
        if sys.platform == "darwin":
            found = fcntl.fcntl(number, fcntl.F_GETPATH, bytes(1024))
            return os.fsdecode(found.rstrip(b"\0"))
    return ""


def _forget_all() -> None:
    for holder in list(_inherited):
        with contextlib.suppress(OSError):
            holder.forget()
    _inherited.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
