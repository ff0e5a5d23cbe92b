"""Export a copy of a database as Parquet files, into one directory that is whole or not there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp

from wopr.config.crashpoint import crashpoint
from wopr.domain.errors import StorageFileError
from wopr.ports.backup import Export
from wopr.storage.duckdb.disk import sync_directory
from wopr.storage.duckdb.file import migrate
from wopr.storage.duckdb.file.connecting import connect
from wopr.storage.duckdb.file.files import write_private
from wopr.storage.duckdb.parquet import layout, parts
from wopr.storage.duckdb.private import open_own

if sys.platform != "win32":
    import fcntl

TOLD = "export.json"
"""What was exported, of when: a directory that has it is an export."""
_CONTENT = frozenset({TOLD, *layout.FOLDERS})


def check_target(target: Path, *, overwrite: bool) -> Path:
    """Return where an export is to be, if it may be there.

    Raises:
        StorageFileError: something is there already, or its name can't be used.
    """
    target = layout.check_name(target)
    there = sorted(os.listdir(target)) if layout.is_there(target) else []
    if there and not (overwrite and TOLD in there and _CONTENT.issuperset(there)):
        how = ": it is no export, or holds something else too."
        if TOLD in there and not overwrite:
            how = ", or replace it: wopr export --overwrite"
        raise StorageFileError(
            f"{target} is there already, with {there[0]} in it, and was not touched. Name another "
            f"directory{how}"
        )
    return target


def export(copy: Path, moment: datetime, target: Path, memory_limit: str) -> Export:
    """Write all of a copy that nobody else uses into a new directory, and put it in its place."""
    with _workshop(target) as folder:
        built = folder / "export"
        built.mkdir(mode=0o700)
        with connect(copy, memory_limit, read_only=True, reach=[built]) as connection:
            counts = parts.write(connection, built, "part")
            schema = migrate.examine(connection).revision
        crashpoint("export.written")
        whole = folder / "whole"
        layout.make(whole)
        layout.put_in_place(built, whole)
        told = {**counts, "moment": moment.isoformat(), "schema": schema}
        write_private(whole / TOLD, json.dumps(told, indent=1).encode())
        sync_directory(whole)
        size = sum(one.stat().st_size for one in whole.rglob(f"*{layout.SUFFIX}"))
        if layout.is_there(target):
            with contextlib.suppress(FileNotFoundError):
                os.rename(target, folder / "old")
        os.rename(whole, target)
        sync_directory(target.parent)
    return Export(path=target, moment=moment, bytes=size, **counts)


@contextlib.contextmanager
def _workshop(target: Path) -> Iterator[Path]:
    """Give a private directory beside the target, which is deleted at the end.

    Those that a killed process left are deleted first: whoever works in one has it locked.
    """
    for left in target.parent.iterdir():
        if left.name.startswith(target.name + layout.NEW):
            with contextlib.suppress(OSError, StorageFileError), _locked(left) as free:
                if free:
                    shutil.rmtree(left, ignore_errors=True)
    folder = Path(mkdtemp(prefix=target.name + layout.NEW, dir=target.parent))
    with _locked(folder):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Lock a directory if nobody has it locked, and say whether that is so."""
    if sys.platform == "win32":
        yield False
        return
    descriptor = open_own(folder / "lock", os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
