"""Tasks that are archived twice: they came back with a backup, and ended once more.

What was archived is not written anew, so their ids are noted beside it, before their second rows
are in place. Whoever asks about the whole has each of them once.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import duckdb

from wopr.storage.duckdb.disk import sync_directory, sync_file
from wopr.storage.duckdb.file.connecting import quoted
from wopr.storage.duckdb.parquet import layout

FOLDER = "again"


def note(
    cursor: duckdb.DuckDBPyConnection,
    built: Path,
    directory: Path,
    name: str,
    ids: Collection[str],
) -> None:
    """Note durably that some tasks are about to be archived again.

    Args:
        cursor: that can reach both directories.
        built: where files are written that are not in place yet.
        directory: the archive.
        name: of the portion that they are in.
        ids: of the tasks; with none there is nothing to note.
    """
    if not ids:
        return
    written, target = built / f"{name}{layout.SUFFIX}", directory / FOLDER
    rows = "select unnest($ids::uuid[]) as id"
    cursor.execute(f"copy ({rows}) to {quoted(written)} (format parquet)", {"ids": list(ids)})
    cursor.fetchall()
    layout.make(target)
    written.chmod(0o600)
    sync_file(written)
    os.replace(written, target / written.name)
    sync_directory(target)
    sync_directory(directory)


def source(directory: Path) -> str | None:
    """Return what to select the ids of such tasks from; ``None``: there are none."""
    folder = directory / FOLDER
    if not layout.is_there(directory) or not layout.is_there(folder):
        return None
    if not any(one.suffix == layout.SUFFIX for one in folder.iterdir()):
        return None
    return f"read_parquet({quoted(folder / ('*' + layout.SUFFIX))})"
