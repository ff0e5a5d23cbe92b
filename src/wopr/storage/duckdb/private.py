"""Files and folders of this user: looked at, and opened, so that nobody else's are taken for them.

Where others may write to the directory, what lies beside the database can be theirs: a link to
a file that they want to be written, a pipe on which an opening would wait for ever, a folder
that they can read. Root is trusted; root itself also with what belongs to whom the directory does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
from pathlib import Path
from typing import BinaryIO

from wopr.domain.errors import StorageFileError

_SAFELY = 0
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # those that the system has
    _SAFELY |= getattr(os, _flag, 0)
_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def is_trusted(path: Path, found: os.stat_result) -> bool:
    """Whether what lies at a path belongs to nobody but this user and root."""
    if not hasattr(os, "geteuid") or found.st_uid in (os.geteuid(), 0):
        return True
    writable = not stat.S_ISLNK(found.st_mode) and found.st_mode & _OTHERS
    return os.geteuid() == 0 and not writable and found.st_uid == os.stat(path.parent).st_uid


def look(path: Path, *, kind: int = stat.S_IFREG) -> os.stat_result | None:
    """Return what is known of a file of ours, ``None`` if it is not there; opens nothing.

    Raises:
        StorageFileError: It is of another kind, or of another user.

    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    _check(path, found, kind)
    return found


def why_exposed(directory: Path) -> str | None:
    """Say how other users could put files of theirs in the place of those in a directory.

    That is so if they can write to it or own it, or one that it is in; ``None`` if it is not so.
    """
    user = os.geteuid() if hasattr(os, "geteuid") else None
    for place in (directory, *directory.parents) if user is not None else ():
        found = os.stat(place)
        mode = stat.S_IMODE(found.st_mode)
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            return f"every user can write to {place} (mode {mode:04o}, without the sticky bit)"
        if user != 0 and found.st_uid not in (user, 0):
            return f"{place} belongs to user id {found.st_uid}"
    return None


def create_own(path: Path) -> int:
    """Make a file that only we can use, to write and read it; there must be nothing of its name.

    Raises:
        OSError: There is, be it a link, or it can't be made.

    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600)


def read_own(path: Path) -> BinaryIO:
    """Open a file of ours to read it; neither follow links nor wait.

    Raises:
        StorageFileError: It is of another kind, or of another user.
        OSError: It can't be opened.

    """
    return os.fdopen(open_as_is(path, os.O_RDONLY), "rb")


def open_own(path: Path, flags: int) -> int:
    """Open a file of ours, or make one that only we can use; from then on others can't write it.

    Neither follow links nor wait. What has a second name would be written there, too.

    Raises:
        StorageFileError: It is of another kind, or of another user, or has other names.
        OSError: It can't be opened.

    """
    descriptor = open_as_is(path, flags)
    try:
        found = os.fstat(descriptor)
        if found.st_nlink > 1 and flags & (os.O_WRONLY | os.O_RDWR):
            raise _refused(path, f"is one of {found.st_nlink} names of the same file (hard links)")
        if found.st_mode & _OTHERS and flags & (os.O_WRONLY | os.O_RDWR):
            with contextlib.suppress(OSError):  # root's, or of a file system without modes
                os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_as_is(path: Path, flags: int) -> int:
    """Open a file of ours and leave its mode as it is; neither follow links nor wait.

    Raises:
        StorageFileError: It is of another kind, or of another user.
        OSError: It can't be opened.

    """
    try:
        descriptor = os.open(path, flags | _SAFELY, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            look(path)
        raise
    try:
        _check(path, os.fstat(descriptor), stat.S_IFREG)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def own_directory(path: Path) -> None:
    """Make a directory that only we can use, or make sure that it is one.

    Raises:
        StorageFileError: Something else has its name.

    """
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        found = look(path, kind=stat.S_IFDIR)
        if found is not None and found.st_mode & 0o077:
            os.chmod(path, 0o700)


def _check(path: Path, found: os.stat_result, kind: int) -> None:
    there = stat.S_IFMT(found.st_mode)
    if there != kind:
        raise _refused(path, f"is {_KINDS.get(there, 'no file')}, not {_KINDS[kind]}")
    if not is_trusted(path, found):
        mode = stat.S_IMODE(found.st_mode)
        raise _refused(path, f"belongs to user id {found.st_uid} (its mode is {mode:04o})")


def _refused(path: Path, why: str) -> StorageFileError:
    user = os.geteuid() if hasattr(os, "geteuid") else "this one"
    return StorageFileError(
        f"{path} {why}, so user id {user} does not use it: whoever put it there could read or "
        f"change what is in the queue, or have another file written. Nothing was changed. Find "
        f"out who made it; then delete it (rm -r {shlex.quote(str(path))}) or have it given to "
        f"you (chown). Keep the database in a directory that only its user can write to."
    )
