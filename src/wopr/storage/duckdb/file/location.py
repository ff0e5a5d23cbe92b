"""Where the database file is, and whether it may be opened there."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

from wopr.domain.errors import StorageFileError

SETTING = "WOPR_TASKS_DATABASE"
_JOURNAL = re.compile(r"\.journal-[0-9]+$")


def locate(path: str | os.PathLike[str], *, create: bool) -> Path:
    """Return the real path of the database file.

    Symbolic links are followed, so that two names of one file share one lock.

    Raises:
        StorageFileError: The file or its directory can't be used; the message
            says which, why, and what to do.

    """
    text = os.fspath(path)
    if not text or "\0" in text or text == ":memory:":
        raise StorageFileError(
            f"{text!r} is not a file name, so no task could be kept in it. "
            f"Name a file, for example {SETTING}=wopr.duckdb."
        )
    if _JOURNAL.search(os.path.realpath(text)):
        raise StorageFileError(
            f"{text!r} is named like a part of the journal of another database, which would take "
            f"it for its own. Set {SETTING} to another name."
        )
    try:
        real = Path(os.path.realpath(text))
        _check_directory(real)
        _check_file(real, create=create)
    except OSError as error:
        raise StorageFileError(
            f"The database file {text!r} can't be reached: {error.strerror or error}. "
            f"Correct the path ({SETTING}) or its permissions."
        ) from error
    return real


def _check_directory(real: Path) -> None:
    parent = real.parent
    if not parent.is_dir():
        problem = "is not a directory" if parent.exists() else "does not exist"
        raise StorageFileError(
            f"The directory {parent} of the database file {real.name} {problem}. "
            f"Create it (mkdir -p '{parent}') or set {SETTING} to a file elsewhere."
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        why = _why_not_writable(parent)
        raise StorageFileError(
            f"The directory {parent} can't be written ({why}). DuckDB needs to create its log and "
            f"wopr its lock file beside {real.name}. Give user id {_user()} write access to it, "
            f"or set {SETTING} to a file elsewhere."
        )


def _why_not_writable(parent: Path) -> str:
    try:
        flags = os.statvfs(parent).f_flag
    except (AttributeError, OSError):
        flags = 0
    if flags & getattr(os, "ST_RDONLY", 0):
        return os.strerror(errno.EROFS)
    return os.strerror(errno.EACCES)


def _check_file(real: Path, *, create: bool) -> None:
    try:
        found = os.stat(real)
    except FileNotFoundError:
        if create:
            return
        raise StorageFileError(
            f"The database file {real} does not exist. "
            f"Correct {SETTING}; starting a queue on that path creates it."
        ) from None
    if not stat.S_ISREG(found.st_mode):
        kind = "a directory" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise StorageFileError(f"{real} is {kind}. Set {SETTING} to the name of a file.")
    if found.st_nlink > 1:
        raise StorageFileError(
            f"The database file {real} has {found.st_nlink} hard links. Through another name a "
            f"second process could open it past the lock and destroy it. Find the other names "
            f"(find -samefile '{real}'), delete them, or copy the file to a name of its own."
        )
    if not os.access(real, os.R_OK | os.W_OK):
        raise StorageFileError(
            f"The database file {real} can't be read and written by user id {_user()}: its mode is "
            f"{stat.S_IMODE(found.st_mode):04o}, its owner user id {found.st_uid}. "
            f"Run as that user, or give access (chown {_user()} '{real}')."
        )


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else -1
