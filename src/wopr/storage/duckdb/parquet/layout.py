"""Where Parquet files lie: ``tasks/day=2026-11-30/<name>.parquet``, in directories of ours only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wopr.domain.errors import StorageFileError
from wopr.storage.duckdb.disk import sync_directory, sync_file
from wopr.storage.duckdb.private import look, own_directory

DAY = "day="
SUFFIX = ".parquet"
NEW = ".new-"
"""In the name of a directory whose files are not in place yet."""
_PATTERN = frozenset("*?[]{}\\")


@dataclass(frozen=True, slots=True)
class Kind:
    """Rows of one table as files."""

    folder: str
    table: str
    task: str
    """Its column with the id of the task."""
    at: str
    """Its column with the time whose day, in UTC, names the directory."""
    key: str
    """Its column by which it is cut into parts."""
    texts: tuple[str, ...]
    """Its columns that may be large."""


KINDS = (
    Kind("transitions", "transitions", "task_id", "occurred_at", "seq", ("error", "data")),
    Kind("logs", "task_logs", "task_id", "logged_at", "task_id", ("message",)),
    Kind("tasks", "tasks", "id", "created_at", "seq", ("args", "kwargs", "result", "error")),
)
"""Tasks come last: where one is, all of it is."""
FOLDERS = {kind.folder: kind for kind in KINDS}


def check_name(path: Path) -> Path:
    """Return the absolute path of a directory, if DuckDB takes its name as it is.

    Raises:
        StorageFileError: it has signs that DuckDB reads as a pattern, or is no path.
    """
    text = os.fspath(path.absolute())
    odd = sorted({sign for sign in text if sign in _PATTERN or sign < " " or sign >= "\ud800"})
    odd = [sign for sign in odd if sign < "\ue000"]
    if odd:
        raise StorageFileError(
            f"The path {text!a} has {' and '.join(map(ascii, odd))} in it, which is read as a "
            "pattern of names, not as a part of one. Nothing was written. Name another directory."
        )
    return Path(text)


def make(directory: Path) -> None:
    """Make a directory for files, mode 0700, or make sure that it is one of ours.

    Raises:
        StorageFileError: it is a link, or another user's, or its parent is not there.
    """
    try:
        own_directory(directory)
    except FileNotFoundError:
        raise StorageFileError(
            f"The directory {directory.parent} is not there, so {directory.name} can't be made in "
            f"it. Make it (mkdir -p '{directory.parent}'), or name another one."
        ) from None


def is_there(directory: Path) -> bool:
    """Whether a directory is there.

    Raises:
        StorageFileError: something of its name is there that is none of ours.
    """
    return look(directory, kind=stat.S_IFDIR) is not None


def days(directory: Path, kind: Kind) -> list[str]:
    """Return the days that there are files of.

    Raises:
        StorageFileError: a directory on the way is a link, or another user's.
    """
    folder = directory / kind.folder
    if not is_there(directory) or not is_there(folder):
        return []
    with os.scandir(folder) as entries:
        found = [one for one in entries if one.name.startswith(DAY)]
    for one in found:
        if one.is_symlink():
            look(Path(one.path), kind=stat.S_IFDIR)  # which refuses it
    return sorted(one.name.removeprefix(DAY) for one in found if _has_files(one.path))


def _has_files(directory: str) -> bool:
    with os.scandir(directory) as entries:  # DuckDB refuses a pattern that nothing matches
        return any(one.name.endswith(SUFFIX) for one in entries)


def files(directory: Path, prefix: str) -> Iterator[Path]:
    """Yield the files whose names begin so."""
    for kind in KINDS:
        for day in days(directory, kind):
            with os.scandir(directory / kind.folder / f"{DAY}{day}") as entries:
                yield from (Path(one.path) for one in entries if one.name.startswith(prefix))


def put_in_place(built: Path, directory: Path) -> int:
    """Move all files of one directory into another, durably, tasks last; return their bytes."""
    touched, size = {directory, directory.parent}, 0
    for kind in KINDS:
        for day in days(built, kind):
            source = built / kind.folder / f"{DAY}{day}"
            target = directory / kind.folder / source.name
            make(target.parent)
            make(target)
            for one in source.iterdir():
                one.chmod(0o600)
                size += one.stat().st_size
                sync_file(one)
                os.replace(one, target / one.name)
            touched |= {target, target.parent}
    for one in sorted(touched, reverse=True):
        sync_directory(one)
    return size
