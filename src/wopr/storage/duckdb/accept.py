"""Go on with a database as it is, when what belongs to it is lost, older or of another one.

Opening refuses such files, because something acknowledged may be missing. Whoever knows
better says so once; what does not fit is set aside, never deleted.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from wopr.domain.clock import Clock, SystemClock
from wopr.storage.duckdb import applied
from wopr.storage.duckdb.disk import beside, sync_directory
from wopr.storage.duckdb.file.files import free_name
from wopr.storage.duckdb.file.lock import Acknowledged
from wopr.storage.duckdb.file.opening import OpenedDatabase, open_database
from wopr.storage.duckdb.journal.scan import segments
from wopr.storage.duckdb.start import state_of

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Accepted:
    """What was done."""

    position: int
    """Of the last record of the journal that the database holds."""
    moved: list[Path] = field(default_factory=list)
    """Where the files that don't fit are now."""


def accept(path: str | os.PathLike[str], *, clock: Clock | None = None) -> Accepted:
    """Let the database be what counts from now on; its journal is set aside.

    A database that is missing, or empty, becomes a new one.

    Raises:
        StorageOwnedError: Another process has it open.
        StorageFileError: It can't be opened for another reason.
    """
    clock = clock or SystemClock()
    moved: list[Path] = []

    def clear(opened: OpenedDatabase) -> None:
        gone = not opened.path.exists() or opened.path.stat().st_size == 0
        old = segments(opened.path)
        log_of_duckdb = beside(opened.path, ".wal")
        if gone and log_of_duckdb.exists():
            old.append(log_of_duckdb)
        name = f"{opened.path.name}.quarantine-{clock.now():%Y%m%dT%H%M%SZ}"
        for one in old:
            aside = free_name(opened.path.with_name(name + one.name[len(opened.path.name) :]))
            os.replace(one, aside)
            moved.append(aside)
        sync_directory(opened.path.parent)

    opened = open_database(path, clock=clock, before=clear)
    try:
        state, _ = state_of(opened)
        opened.connection.execute("update meta set value = '' where key = 'journal'").fetchall()
        opened.checkpoint()
        position, _ = applied.position(opened.connection)
        opened.lock.remember(Acknowledged(state.database, position, synced=True))
    finally:
        opened.close()
    log.warning(
        "%s counts as it is, up to record %d. Set aside: %s.",
        opened.path,
        position,
        ", ".join(one.name for one in moved) or "nothing",
    )
    return Accepted(position, moved)
