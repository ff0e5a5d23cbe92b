"""Where the database file is, and whether it may be opened there."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import re
import shlex
import stat
from pathlib import Path

from wopr.domain.address import Address
from wopr.domain.errors import StorageFileError
from wopr.storage.duckdb.private import is_trusted, look, why_exposed

log = logging.getLogger(__name__)

SETTING = "WOPR_TASKS_DATABASE"
LONGEST_SUFFIX = 64
"""So many bytes at most wopr appends to the name: of a copy of a part of the journal, say."""

_MOST_LINKS = 40
_JOURNAL = re.compile(r"\.journal-[0-9]+$")
_NO_FILE = re.compile(r":memory:|[a-z][a-z0-9+.-]+:", re.IGNORECASE)
"""What begins like this is a place in memory or on a network to others."""
_SECRET = re.compile(r"(:/+).*@")
"""Who comes to a place on a network, and with which password."""


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return the path as it stays when the working directory changes.

    What is no path to a file is returned as it is: :func:`locate` refuses it.
    """
    if isinstance(path, Address):
        return path
    plain = Path(path)
    with contextlib.suppress(FileNotFoundError):  # the working directory itself is gone
        return plain if _NO_FILE.match(str(plain)) else plain.absolute()
    return plain


def locate(path: str | os.PathLike[str], *, create: bool) -> Path:
    """Return the real path of the database file.

    Symbolic links are followed, so that two names of one file share one lock; but not those
    that somebody else has made.

    Raises:
        StorageFileError: The file or its directory can't be used; the message
            says which, why, and what to do.

    """
    text = os.fspath(path)
    check_name(text)
    try:
        _refuse_links_of_others(Path(text))
        real = Path(os.path.realpath(text))
        check_name(str(real))
        _check_length(real)
        _check_directory(real)
        _check_file(real, create=create)
        _warn_of(real)
    except OSError as error:
        raise StorageFileError(
            f"The database file {text!r} can't be reached: {error.strerror or error}. "
            f"Correct the path ({SETTING}) or its permissions."
        ) from error
    return real


def _refuse_links_of_others(path: Path) -> None:
    """Raise if the name of the database is a link that another user has made."""
    for _ in range(_MOST_LINKS):
        if not path.is_symlink():
            return
        look(path, kind=stat.S_IFLNK)
        path = path.parent / os.readlink(path)


def check_name(text: str) -> None:
    """Refuse what others, DuckDB among them, take for something else than the name of a file.

    Raises:
        StorageFileError: It is; no file was looked at.

    """
    if not text or "\0" in text or _NO_FILE.match(text):
        named = _SECRET.sub(r"\1***@", text)
        raise StorageFileError(
            f"{named!r} is not a file name, so no task could be kept in it. "
            f"Name a file, for example {SETTING}=wopr.duckdb."
        )
    if _JOURNAL.search(text):
        raise StorageFileError(
            f"{text!r} is named like a part of the journal of another database, which would take "
            f"it for its own. Set {SETTING} to another name."
        )
    odd = "?" if os.name == "nt" else "?\\"
    found = sorted({sign for sign in text if sign in odd or 0xD800 <= ord(sign) <= 0xDFFF})
    if found:
        raise StorageFileError(
            f"The path {text!r} has {' and '.join(map(ascii, found))} in it. DuckDB reads that as "
            f"something else than a part of a name, and would keep the log of the database in "
            f"another place. Rename the file or the directory, or set {SETTING} to another path."
        )


def _check_length(real: Path) -> None:
    longest = _longest_name(real.parent) - LONGEST_SUFFIX
    size = len(os.fsencode(real.name))
    if size > longest:
        raise StorageFileError(
            f"The name of the database file {str(real)!r} has {size} bytes. At most {longest} "
            f"leave room for what wopr appends to it for its log, journal and copies. Set "
            f"{SETTING} to a shorter name."
        )


def _longest_name(directory: Path) -> int:
    try:
        return os.pathconf(directory, "PC_NAME_MAX")
    except (AttributeError, ValueError, OSError):  # not there, or a system that does not say
        return 255


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
        found = os.lstat(real)
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
    if not is_trusted(real, found):
        raise StorageFileError(
            f"The database file {real} belongs to user id {found.st_uid} (its mode is "
            f"{stat.S_IMODE(found.st_mode):04o}): that user says what is in it, and so what user "
            f"id {_user()} would run. Run as that user, have it given to you (chown {_user()} "
            f"{shlex.quote(str(real))}), or copy it to a file of your own."
        )
    if found.st_mode & stat.S_IWOTH:
        log.warning("Every user can write to %s. Only its own should: chmod 600.", real)
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


def exposure(database: Path) -> str | None:
    """Say how other users get at a database through its directory, and what to do; usually not."""
    why = why_exposed(database.parent)
    if why is None:
        return None
    return (
        f"{why}, so other users can put files of theirs in the place of {database.name} and of "
        "what lies beside it, or take those away. Keep the database in a directory of its own user "
        f"(chmod 700), or set {SETTING} to one"
    )


@functools.cache
def _warn_of(real: Path) -> None:
    """Say once what other users can do to a database."""
    if (why := exposure(real)) is not None:
        log.warning("%s is not safe from other users: %s.", real, why)


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else -1
