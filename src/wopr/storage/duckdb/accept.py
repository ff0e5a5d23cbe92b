"""Go on with a database as it is, when what belongs to it is lost, older or of another one.

Opening refuses such files, because something acknowledged may be missing. Whoever knows
better says so once; what does not fit is set aside, never deleted.
"""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from wopr.domain.clock import Clock, SystemClock
from wopr.domain.errors import StorageFileError
from wopr.storage.duckdb import applied
from wopr.storage.duckdb.disk import beside, sync_directory
from wopr.storage.duckdb.file.files import free_name
from wopr.storage.duckdb.file.lock import Acknowledged
from wopr.storage.duckdb.file.opening import OpenedDatabase, open_database
from wopr.storage.duckdb.journal.scan import segments
from wopr.storage.duckdb.start import Left

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Accepted:
    """What was done."""

    position: int
    """Of the last record of the journal that the database holds."""
    moved: list[Path] = field(default_factory=list)
    """Where the files that don't fit are now."""


def accept(path: str | os.PathLike[str], *, clock: Clock | None = None) -> Accepted:
    """Let the database be what counts from now on, with what of its journal fits.

    The journal is set aside then. A database that is missing or empty becomes a new one, if
    something is left that belonged to it.

    Raises:
        StorageOwnedError: Another process has it open.
        StorageFileError: It can't be opened for another reason.
    """
    aside = _Aside(clock or SystemClock())
    left = Left(accept=True)
    try:
        opened = open_database(path, clock=clock, before=lambda one: aside.look(one, left))
        try:
            left.recover(opened)
            opened.connection.execute("update meta set value = '' where key = 'journal'").fetchall()
            opened.checkpoint()
            position, _ = applied.position(opened.connection)
            opened.lock.remember(Acknowledged(left.state.database, position, synced=True))
            aside.move(opened, segments(opened.path))
        finally:
            opened.close()
    finally:
        left.let_go()
    log.warning(
        "%s counts as it is, up to record %d. Set aside: %s.",
        opened.path,
        position,
        ", ".join(one.name for one in aside.moved) or "nothing",
    )
    return Accepted(position, aside.moved)


def move_aside(path: Path, files: list[Path], clock: Clock) -> list[Path]:
    """Give files of a database names of which nothing is expected; return where they are.

    The database itself stays where it is as well, until another one is put in its place: nobody
    may find none there, and begin a new one.
    """
    name = f"{path.name}.quarantine-{clock.now():%Y%m%dT%H%M%SZ}"
    moved = []
    for one in files:
        target = free_name(path.with_name(name + one.name[len(path.name) :]))
        try:
            if one != path:
                os.replace(one, target)
            else:
                os.link(one, target)
        except OSError as error:
            if one != path or error.errno == errno.ENOSPC:
                raise
            os.replace(one, target)  # no links on this file system
        moved.append(target)
    sync_directory(path.parent)
    return moved


class _Aside:
    """Moves out of the way what does not fit."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.moved: list[Path] = []

    def move(self, opened: OpenedDatabase, files: list[Path]) -> None:
        """Give files beside the database names of which nothing is expected."""
        self.moved += move_aside(opened.path, files, self._clock)

    def look(self, opened: OpenedDatabase, left: Left) -> None:
        """Read the journal; without a database none of it fits."""
        left.look(opened)
        if opened.path.exists() and opened.path.stat().st_size:
            return
        log_of_duckdb = beside(opened.path, ".wal")
        found = segments(opened.path) + [one for one in (log_of_duckdb,) if one.exists()]
        if not found and not opened.path.exists():
            raise StorageFileError(
                f"There is no database file {opened.path}, and nothing that belonged to it: "
                f"nothing was accepted. Correct the path."
            )
        self.move(opened, found)
        left.let_go()
        left.found, left.adopted, opened.journaled = [], [], False
