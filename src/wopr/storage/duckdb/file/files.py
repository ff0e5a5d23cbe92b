"""The files of a database on disk: copied, made private and made durable.

None of these may be called while this process has the database open: closing
any descriptor of the file drops DuckDB's own lock on it.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from wopr.storage.duckdb.disk import beside, sync, sync_directory, sync_file
from wopr.storage.duckdb.private import create_own, look, read_own

LOG_SUFFIXES = (".wal", ".wal.checkpoint", ".wal.recovery")
"""What DuckDB may keep beside a file; the last two only during a checkpoint."""

NEW = ".new-"
"""What follows the name of a database in that of a folder beside it, until it is in place."""


def copy_private(source: Path, target: Path) -> None:
    """Copy a file that must not exist yet to one only its owner can read, durably.

    Raises:
        OSError: The copy failed, for example because the disk is full; no part
            of it is left.

    """
    descriptor = create_own(target)
    try:
        with os.fdopen(descriptor, "wb") as output, read_own(source) as content:
            shutil.copyfileobj(content, output, 1024 * 1024)
            output.flush()
            sync(output.fileno())
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def write_private(target: Path, content: bytes) -> None:
    """Write a new file that only its owner can read, durably."""
    descriptor = create_own(target)
    with os.fdopen(descriptor, "wb") as output:
        output.write(content)
        output.flush()
        sync(output.fileno())


def copy_database(path: Path, name: str) -> Path:
    """Copy the file and its logs, durably, to ``name`` or the first free ``name-2``, ``name-3``.

    Together the copies are a database that DuckDB opens like the original.
    """
    target = free_name(path.with_name(name))
    for suffix in LOG_SUFFIXES:  # the file comes last: when it is there, all of it is
        if beside(path, suffix).exists():
            copy_private(beside(path, suffix), beside(target, suffix))
    copy_private(path, target)
    sync_directory(path.parent)
    return target


def free_name(path: Path) -> Path:
    """Return the first of ``path``, ``path-2``, ``path-3`` that is free, and its logs too."""
    candidate, number = path, 1
    while any(os.path.lexists(beside(candidate, suffix)) for suffix in ("", *LOG_SUFFIXES)):
        number += 1
        candidate = beside(path, f"-{number}")
    return candidate


@contextmanager
def workshop(path: Path) -> Iterator[Path]:
    """Give a file name in a private directory beside ``path``, to build a database there.

    The directory is on the same file system, so the result can be renamed into
    place, and is deleted at the end with all that is left in it.
    """
    directory = Path(mkdtemp(prefix=path.name + NEW, dir=path.parent))
    try:
        yield directory / path.name
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def install(built: Path, path: Path) -> None:
    """Put a closed database in the place of ``path`` in one durable step.

    ``path``, if it exists, must have no log: the new file must never be met by
    the log of the old one.
    """
    built.chmod(0o600)
    sync_file(built)
    os.replace(built, path)
    sync_directory(path.parent)


def refuse_things_of_others(path: Path) -> None:
    """Raise if something beside the database, which DuckDB or wopr would use, is not ours.

    Raises:
        StorageFileError: It is of another user, or no file: a link, a pipe.

    """
    for suffix in (*LOG_SUFFIXES, ".blocks"):
        look(beside(path, suffix))
    look(beside(path, ".tmp"), kind=stat.S_IFDIR)


def clear_leftovers(path: Path) -> None:
    """Delete what a killed process left: unfinished new files and spilled query data."""
    for leftover in path.parent.glob(_escaped(path.name) + NEW + "*"):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.rmtree(beside(path, ".tmp"), ignore_errors=True)


def _escaped(name: str) -> str:
    """Return ``name`` with the signs of glob patterns taken literally."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)
