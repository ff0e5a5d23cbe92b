"""Bring a database back that DuckDB refuses to open, without losing anything unsaid.

Nothing is changed before a copy is in quarantine beside it, and nothing that
could hold an acknowledged commit is dropped without an ERROR that names the
copy and the number of bytes. What can't be repaired is left untouched.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import duckdb

from wopr.domain.clock import Clock
from wopr.domain.errors import StorageError, StorageFileError
from wopr.storage.duckdb.disk import beside, sync, sync_directory
from wopr.storage.duckdb.file.files import (
    LOG_SUFFIXES,
    copy_database,
    copy_private,
    free_name,
    write_private,
)
from wopr.storage.duckdb.file.lock import owned_error
from wopr.storage.duckdb.file.mending import is_torn, mend
from wopr.storage.duckdb.file.wal import WalReport, commits_after, commits_before, read_wal
from wopr.storage.duckdb.private import open_own, read_own

log = logging.getLogger(__name__)

T = TypeVar("T")

_STALE = re.compile(r"File checkpoint iteration: (\d+), WAL checkpoint iteration: (\d+)")
_BAD_FRAME = re.compile(r"Corrupt WAL file: entry at byte position (\d+)")
_ABOUT_THE_LOG = re.compile(r"replaying WAL|WAL file|checkpoint iteration")
_HOLDER = re.compile(r"Conflicting lock is held in (.+?) \(PID (\d+)\)")
_NEWER = re.compile(r"storage version number (\d+), but we can only read .* and (\d+)")


class Repair:
    """Repairs of one database file whose lock is held and which is not open."""

    def __init__(self, path: Path, clock: Clock, in_order: Callable[[Path], bool]) -> None:
        self.path = path
        self._in_order = in_order
        self._wal = beside(path, ".wal")
        self._clock = clock

    def opening(self, attempt: Callable[[], T], *, journaled: bool = False) -> T:
        """Return what ``attempt`` returns, repairing the files when DuckDB refuses them.

        With a journal beside the file, whatever is wrong with DuckDB's log is no loss.

        Raises:
            StorageOwnedError: A program that is not wopr has the file open.
            StorageFileError: It can't be opened and can't be repaired.

        """
        self.before_opening(journaled=journaled)
        for _ in range(3):  # a stale log, then a broken one; never in a circle
            try:
                return attempt()
            except duckdb.Error as error:
                if is_torn(error) and mend(self.path, self._clock, self._in_order):
                    continue
                if not self._repair(str(error), journaled=journaled):
                    raise explain(self.path, error) from error
        return attempt()

    def before_opening(self, *, journaled: bool = False) -> None:
        """Treat what DuckDB would skip without a word: a torn or broken end of the log."""
        report = read_wal(self._wal)
        if report is None or report.header == "unknown":
            return
        under_way = any(beside(self.path, suffix).exists() for suffix in LOG_SUFFIXES[1:])
        if journaled:
            self._before_a_replay(report, under_way=under_way)
        elif not self.path.exists() or self.path.stat().st_size == 0:
            self._set_wal_aside("has no database: the file beside it is missing or empty")
        elif under_way:
            return  # a checkpoint was under way: DuckDB knows how to go on from its own files
        elif report.header == "torn":
            self._set_wal_aside("was cut off in its first bytes and holds no commit")
        elif report.header == "damaged":
            raise self._damaged_header(report.size, report.lost_commits)
        elif report.damaged and not report.zeros:
            self._drop_damaged_end(report.committed, report.commits, report.lost_commits)
        elif report.rest:
            self._drop_unfinished_end(report.committed, report.rest, zeros=report.zeros)

    def _before_a_replay(self, report: WalReport, *, under_way: bool) -> None:
        """Take a log out of the way that DuckDB would stumble over: the journal has it all."""
        if report.header != "ok" or (report.damaged and not report.zeros):
            self._set_wal_aside("is damaged; what it held is in the journal")
        elif report.rest and not under_way:
            self._drop_unfinished_end(report.committed, report.rest, zeros=report.zeros)

    def _repair(self, message: str, *, journaled: bool) -> bool:
        """Repair what the message of DuckDB says; return whether there is hope now."""
        if journaled and _ABOUT_THE_LOG.search(message) and self._wal.exists():
            self._set_wal_aside("can't be read by DuckDB; what it held is in the journal")
            return True
        if stale := _STALE.search(message):
            file, wal = int(stale[1]), int(stale[2])
            if wal < file:
                self._set_wal_aside(
                    f"is left over from checkpoint {wal}; the file holds checkpoint {file}, "
                    f"so it has all of it"
                )
                return True
        if bad := _BAD_FRAME.search(message):
            position = int(bad[1])
            committed, commits = commits_before(self._wal, position)
            self._drop_damaged_end(committed, commits, commits_after(self._wal, committed))
            return True
        return False

    def _drop_damaged_end(self, committed: int, kept: int, lost: int) -> None:
        size = self._wal.stat().st_size
        copy = copy_database(self.path, self._quarantine_name())
        self._truncate(committed)
        log.error(
            "The log %s was damaged at byte %d. Its %d commits before that are kept; the %d bytes "
            "behind (at least %d commits, which may have been acknowledged) can't be read and are "
            "gone from the database. The files as they were found: %s. Check the disk; to go back "
            "to an older state instead, stop the queue and restore a backup.",
            self._wal,
            committed,
            kept,
            size - committed,
            max(lost, 1),
            copy,
        )

    def _drop_unfinished_end(self, committed: int, rest: int, *, zeros: bool) -> None:
        if zeros:
            where = "all zero"
        else:
            saved = free_name(self.path.with_name(self._quarantine_name() + ".tail"))
            with read_own(self._wal) as wal:
                wal.seek(committed)
                write_private(saved, wal.read())
            where = f"kept in {saved}"
        self._truncate(committed)
        log.warning(
            "The log %s ended in the middle of a commit, as it does when a process is killed. "
            "The %d bytes behind its last whole commit were never acknowledged; removed (%s).",
            self._wal,
            rest,
            where,
        )

    def _set_wal_aside(self, why: str) -> None:
        target = free_name(self.path.with_name(self._quarantine_name() + ".wal"))
        copy_private(self._wal, target)
        size = self._wal.stat().st_size
        self._wal.unlink()
        sync_directory(self.path.parent)
        log.warning(
            "The log %s (%d bytes) %s. It was moved to %s; delete that when all is well.",
            self._wal,
            size,
            why,
            target,
        )

    def _truncate(self, size: int) -> None:
        descriptor = open_own(self._wal, os.O_RDWR)
        try:
            os.ftruncate(descriptor, size)
            sync(descriptor)
        finally:
            os.close(descriptor)

    def _damaged_header(self, size: int, commits: int) -> StorageFileError:
        return StorageFileError(
            f"The log {self._wal} ({size} bytes, about {commits} commits) is damaged in its first "
            f"bytes, so DuckDB would skip all of it without a word. Nothing was changed. Restore a "
            f"backup of {self.path.name} and {self._wal.name} together; or, to go on with the last "
            f"checkpoint and without these commits: mv '{self._wal}' '{self._wal}.damaged'."
        )

    def _quarantine_name(self) -> str:
        return f"{self.path.name}.quarantine-{self._clock.now():%Y%m%dT%H%M%SZ}"


def explain(path: Path, error: duckdb.Error) -> StorageError:
    """Return the error to raise for what DuckDB said about a file it would not open."""
    text = str(error)
    if holder := _HOLDER.search(text):
        pid = int(holder[2])
        return owned_error(path, f"process {pid} ({holder[1]}), which is not a queue", pid)
    if "different configuration" in text:
        return owned_error(path, "this process: duckdb.connect() has it open", os.getpid())
    if newer := _NEWER.search(text):
        advice = "Upgrade: pip install --upgrade duckdb."
        if int(newer[1]) < int(newer[2]):
            advice = "It is too old to be read: export it with the DuckDB that wrote it."
        return StorageFileError(
            f"The database file {path} has DuckDB storage version {newer[1]}; duckdb "
            f"{duckdb.__version__} reads up to {newer[2]}. Nothing was changed. {advice}"
        )
    if "not a valid DuckDB" in text or "external extensions" in text:
        return StorageFileError(
            f"{path} is not a DuckDB database. Nothing was changed. Set WOPR_TASKS_DATABASE to "
            f"another file, or move this one away."
        )
    return StorageFileError(_advice(path, text))


def _advice(path: Path, text: str) -> str:
    if "No space left" in text:
        return f"The disk of {path} is full: {text}. Free some space and start again."
    if "replaying WAL" in text or "checkpoint iteration" in text:
        return (
            f"The log {path.name}.wal does not belong to the database file {path}, or is damaged: "
            f"perhaps one of them was restored or copied without the other. Nothing was changed. "
            f"Put the two files of one moment back together; or, to go on without "
            f"what only the log holds: mv '{path}.wal' '{path}.wal.foreign'. DuckDB says: {text}"
        )
    return (
        f"The database file {path} can't be opened. Nothing was changed. Check the disk and its "
        f"free space, and restore a backup ({path.name}.backup-*) if the file is damaged. "
        f"DuckDB says: {text}"
    )
