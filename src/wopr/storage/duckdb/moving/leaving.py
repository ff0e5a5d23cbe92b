"""A file that its queue leaves: opened for that alone, and marked in one durable step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wopr.domain.errors import StorageOwnedError
from wopr.domain.moving import MOVED, Moving
from wopr.storage.duckdb.disk import beside
from wopr.storage.duckdb.failures import told
from wopr.storage.duckdb.file.connecting import connect
from wopr.storage.duckdb.file.location import locate
from wopr.storage.duckdb.file.opening import OpenedDatabase
from wopr.storage.duckdb.moving.reading import FileReader
from wopr.storage.duckdb.private import own_directory
from wopr.storage.duckdb.start import open_settled

_FOLDER = ".moving"
_COPY = "copy.duckdb"


class Leaving:
    """A file that is open for nobody else, whose queue leaves it."""

    def __init__(self, opened: OpenedDatabase, folder: Path) -> None:
        self._opened = opened
        self.reader = FileReader(opened.connection, folder)

    def mark(self, moving: Moving) -> None:
        """Say in the file that the queue is elsewhere; on disk when this returns."""
        self._opened.verify_in_place()
        self._opened.connection.execute(
            "insert into meta (key, value) values (?, ?)", [MOVED, moving.text()]
        ).fetchall()
        self._opened.checkpoint()

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self._opened.close()


def folder_of(database: Path) -> Path:
    """Return the private folder beside a file for what a move needs, made if it is missing."""
    real = locate(database, create=True)
    folder = beside(real, _FOLDER)
    own_directory(folder)
    return folder


def copy_in(folder: Path) -> Path:
    """Return where the copy of the file is, or is to be."""
    return folder / _COPY


def moved_from(database: Path, memory_limit: str) -> Moving | None:
    """Return where the queue of a file is, if it has left it; ``None`` too while it is in use.

    Raises:
        StorageFileError: the file can't be used.
    """
    try:
        opened = open_settled(database, memory_limit=memory_limit, coming=True)
    except StorageOwnedError:
        return None
    try:
        rows = opened.connection.execute("select value from meta where key = ?", [MOVED]).fetchall()
    finally:
        opened.close()
    return Moving.read(str(rows[0][0])) if rows else None


def opened_to_leave(database: Path, memory_limit: str) -> Leaving:
    """Open a file whose queue is to leave it; others wait meanwhile.

    Raises:
        StorageOwnedError: another process has it.
        StorageFileError: it can't be used.
    """
    folder = folder_of(database)
    return Leaving(
        open_settled(database, memory_limit=memory_limit, reach=folder, coming=True), folder
    )


@contextmanager
def looked_into(copy: Path, memory_limit: str) -> Iterator[FileReader]:
    """Give what a copy of the file has, for a ``with`` block."""
    with (
        told(f"{copy} can't be read"),
        connect(copy, memory_limit, read_only=True, reach=[copy.parent]) as connection,
    ):
        yield FileReader(connection, copy.parent)
