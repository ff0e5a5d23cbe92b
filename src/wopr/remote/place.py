"""Where an owner listens: the directory for long names, and what a forked child gets of it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat

from wopr.config.forks import close_in_children, take_away_sockets


def private_directory() -> str:
    """Return where sockets lie whose names are too long to lie beside the file.

    It is the same for every process of the user, whatever its environment says.
    """
    return f"/tmp/wopr-{os.geteuid()}"  # noqa: S108 - used only after secure()


def secure(path: str, *, create: bool = False) -> None:
    """Check that what is there is a socket, and that only this user can put one there, if so.

    That is, if it is in the private directory. Nothing is opened.

    Raises:
        OSError: it is something else, somebody else could, or there is no such directory.
    """
    _refuse_no_socket(path)
    directory = os.path.dirname(path)
    if directory != private_directory():
        return  # beside the file: who may write there may do worse
    if create:
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode):
        problem = "is no directory"
    elif found.st_uid != os.geteuid():
        problem = f"belongs to user id {found.st_uid}"
    elif found.st_mode & 0o077:
        problem = f"is open to others (mode {stat.S_IMODE(found.st_mode):04o})"
    else:
        return
    raise PermissionError(
        errno.EPERM,
        f"{problem}, so a socket there could be anybody's; delete it, or give the database "
        "file a path of less than 95 bytes",
        directory,
    )


def _refuse_no_socket(path: str) -> None:
    """Raise if there is something that an owner would delete, or a client follow."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(
            errno.ENOTSOCK,
            "is no socket, so nobody can listen there; find out who made it, and delete it",
            path,
        )


class _Sockets:
    """Of all queues of this process, as owner and as client, by the names of their paths."""

    def __init__(self) -> None:
        self.paths: set[str] = set()

    def forget(self) -> None:
        """Leave the connections to the process that this one was forked from."""
        take_away_sockets(self._is_ours)

    def _is_ours(self, found: socket.socket) -> bool:
        if found.family != socket.AF_UNIX:
            return False
        if found.getsockname() in self.paths:
            return True
        return found.getpeername() in self.paths


_sockets = _Sockets()


def keep_from_children(path: str) -> None:
    """Let no process that is forked from this one keep a socket of this name open.

    Else a client would not see the end of its owner, nor the owner that of a client.
    """
    _sockets.paths.add(path)
    close_in_children(_sockets)
