"""Make one complete file of a database, also of one that is in use, and put such a file back.

The owner of a file copies it with its log as of one moment (:mod:`.asked.snapshot`); here the log
is brought into the copy, which is then put where it belongs in one step. A file that nobody has
open is copied as it is: of whatever schema it is, that is the one of its backup.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import duckdb

from wopr.domain.clock import Clock, SystemClock
from wopr.domain.errors import StorageFileError
from wopr.domain.examination import Report
from wopr.domain.spoken import counted
from wopr.ports.backup import Backup, Restored
from wopr.storage.duckdb.accept import move_aside
from wopr.storage.duckdb.disk import beside
from wopr.storage.duckdb.doctor import check as examine
from wopr.storage.duckdb.file import migrate
from wopr.storage.duckdb.file.connecting import connect
from wopr.storage.duckdb.file.files import (
    LOG_SUFFIXES,
    copy_private,
    install,
    refuse_things_of_others,
    workshop,
)
from wopr.storage.duckdb.file.holder import refuse_held
from wopr.storage.duckdb.file.location import locate
from wopr.storage.duckdb.file.lock import Acknowledged, FileLock
from wopr.storage.duckdb.file.memory import with_enough
from wopr.storage.duckdb.file.repair import explain
from wopr.storage.duckdb.file.saved import SUFFIX as BLOCKS
from wopr.storage.duckdb.journal.scan import segments
from wopr.storage.duckdb.start import open_settled

LEFT_BYTES = 64 * 1024 * 1024
"""So much room a copy leaves on a disk."""


# -- a backup --------------------------------------------------------------------


def check_target(target: Path, database: Path, *, overwrite: bool) -> Path:
    """Return where a backup is to be, if it may be there.

    Raises:
        StorageFileError: it is the database itself, or named like a part of it; or there is
            something already, or no directory.
    """
    parent = Path(os.path.realpath(target)).parent
    if not parent.exists():
        raise StorageFileError(
            f"There is no directory {parent} for the backup {target.name}. Create it (mkdir -p "
            f"{shlex.quote(str(parent))}), or name a file elsewhere."
        )
    real = locate(target, create=True)
    own = Path(os.path.realpath(database))
    beside_it = real.parent == own.parent and real.name.startswith(f"{own.name}.")
    if real == own or (beside_it and _is_part(real.name.removeprefix(own.name))):
        raise StorageFileError(
            f"{target} is the database {own}, or named like a part of it. Name another file for "
            "the backup."
        )
    left = [one for one in (real, beside(real, ".wal"), *segments(real)) if os.path.lexists(one)]
    if left and not (overwrite and left == [real]):
        raise StorageFileError(
            f"{left[0]} is there already, and was not touched. Name another file, or replace it: "
            "wopr backup --overwrite"
        )
    return real


def _is_part(suffix: str) -> bool:
    parts = (*LOG_SUFFIXES, BLOCKS, ".lock", ".sock", ".tmp")
    return suffix in parts or suffix.startswith((".journal-", ".new-"))


@contextmanager
def taken_over(copy: Path, target: Path, memory_limit: str) -> Iterator[Path]:
    """Give a copy that an owner made a place beside ``target``; it is deleted at the end."""
    with workshop(target) as new:
        for suffix in ("", ".wal"):
            if beside(copy, suffix).exists():
                shutil.move(beside(copy, suffix), beside(new, suffix))
        shutil.rmtree(copy.parent, ignore_errors=True)
        try:
            with_enough(memory_limit, lambda limit: _settle(new, limit))
        except duckdb.Error as error:
            raise explain(new, error) from error
        yield new


def _settle(copy: Path, memory_limit: str) -> None:
    """Bring the log of a copy into it, and let it say that it needs no journal."""
    with connect(copy, memory_limit) as connection:
        connection.execute("checkpoint")
        connection.execute("update meta set value = '' where key = 'journal'").fetchall()
        connection.execute("checkpoint")
    beside(copy, ".wal").unlink(missing_ok=True)  # empty by now


@contextmanager
def copied(database: Path, target: Path, memory_limit: str) -> Iterator[Path]:
    """Give a copy of a file that nobody has open, beside ``target``; it is deleted at the end.

    Raises:
        StorageOwnedError: somebody has it open.
        StorageFileError: it can't be used, or lacks its journal.
    """
    real = locate(database, create=False)
    with workshop(target) as new:
        if not _copy_closed(real, new):
            open_settled(real, memory_limit=memory_limit).close()  # or it says what is missing
            if not _copy_closed(real, new):
                raise StorageFileError(
                    f"{real} could not be copied: processes open it and go while it is done. Try "
                    "again."
                )
        yield new


def _copy_closed(real: Path, new: Path) -> bool:
    """Copy a file that nobody has open; return whether it was complete without anything else."""
    lock = FileLock(real)
    lock.acquire()
    try:
        refuse_things_of_others(real)
        refuse_held(real)
        if segments(real) or any(beside(real, one).exists() for one in (*LOG_SUFFIXES, BLOCKS)):
            return False
        _check_room(real.stat().st_size, new.parent, real)
        new.unlink(missing_ok=True)
        copy_private(real, new)
    finally:
        lock.release()
    with connect(new, read_only=True) as connection:
        return _journal_of(connection) == ""


def _journal_of(connection: duckdb.DuckDBPyConnection) -> str:
    """Return what a file says about its journal; nothing, if it is of before there was one."""
    try:
        rows = connection.execute("select value from meta where key = 'journal'").fetchall()
    except duckdb.CatalogException:
        return ""
    return str(rows[0][0]) if rows else ""


def finish(new: Path, target: Path, moment: datetime, *, verify: bool, memory_limit: str) -> Backup:
    """Put a complete copy in its place, in one step; with ``verify`` once a doctor has seen it.

    Raises:
        StorageFileError: the doctor found something; nothing was put there.
    """
    schema = migrate.current(new) or "of another program"
    if verify:
        _verify(new, memory_limit, f"The backup of {target.name}")
    with connect(new, memory_limit, read_only=True) as connection:
        tasks, transitions = _counts(connection)
    size = new.stat().st_size
    install(new, target)
    return Backup(
        path=target,
        moment=moment,
        bytes=size,
        tasks=tasks,
        transitions=transitions,
        schema=schema,
        verified=verify,
    )


def _verify(new: Path, memory_limit: str, what: str) -> None:
    """Have a doctor see a copy, or a copy of it, if opening it would change its schema."""
    if migrate.current(new) == migrate.head():
        _refuse_problems(examine(new, memory_limit=memory_limit), what)
        return
    with workshop(new) as other:
        copy_private(new, other)
        _refuse_problems(examine(other, memory_limit=memory_limit), what)


def _refuse_problems(report: Report, what: str) -> None:
    """Raise if a doctor found something in a copy; where it lies for now is no fault of it."""
    problems = [one for one in report.problems if one.kind != "exposed"]
    count = len(problems) + report.unlisted
    if not count:
        return
    raise StorageFileError(
        f"{what} has {counted(count, 'problem')}, so nothing was put in "
        f"its place. The first: {problems[0]}. All of them: wopr doctor"
    )


def _counts(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    found = []
    for table in ("tasks", "transitions"):
        try:
            [(count,)] = connection.execute(f"select count(*) from {table}").fetchall()
        except duckdb.CatalogException:
            count = 0
        found.append(int(count))
    return found[0], found[1]


def _check_room(size: int, folder: Path, what: Path) -> None:
    free = shutil.disk_usage(folder).free
    if size + LEFT_BYTES > free:
        raise StorageFileError(
            f"{what} could not be copied: {folder.parent} has {free:,} bytes free, and "
            f"{size + LEFT_BYTES:,} are needed. Free some space, or name a file on another disk."
        )


# -- back --------------------------------------------------------------------------


def restore(
    source: Path, database: Path, *, memory_limit: str = "200MB", clock: Clock | None = None
) -> Restored:
    """Put a backup in the place of a database that nobody has open, once a doctor has seen it.

    What was there is set aside, never deleted. A source with a log, or a journal, of its own is
    put back with them.

    Raises:
        StorageOwnedError: a process has the database open: stop it first.
        StorageFileError: the source can't be used, or lacks its journal; nothing was changed.
    """
    if not os.path.lexists(source):
        raise StorageFileError(f"There is no backup {source}, so nothing was put back.")
    source, real = locate(source, create=False), locate(database, create=True)
    if source == real:
        raise StorageFileError(f"{source} is the database itself: there is nothing to be done.")
    lock = FileLock(real)
    lock.acquire()
    try:
        refuse_things_of_others(real)
        refuse_held(real)
        with workshop(real) as new:
            try:
                _bring(source, new)
                _refuse_problems(examine(new, memory_limit=memory_limit), f"{source}")
            except StorageFileError as error:
                raise StorageFileError(
                    f"{source} was not put back, and {real} is as it was. "
                    f"{str(error).replace(str(new), str(source))}"
                ) from error
            with connect(new, memory_limit, read_only=True) as connection:
                tasks, transitions = _counts(connection)
                known = _acknowledged(connection)
            moved = move_aside(real, _parts(real), clock or SystemClock())
            install(new, real)
            lock.remember(known)
    finally:
        lock.release()
    return Restored(
        path=real, source=source, tasks=tasks, transitions=transitions, moved=tuple(moved)
    )


def _bring(source: Path, new: Path) -> None:
    """Copy a backup and what belongs to it under the name of the database."""
    parts = [one for one in _parts(source) if one.suffix != BLOCKS]
    _check_room(sum(one.stat().st_size for one in parts), new.parent, source)
    for one in parts:
        copy_private(one, beside(new, one.name.removeprefix(source.name)))


def _parts(path: Path) -> list[Path]:
    """Return a database and what lies beside it that belongs to it, as far as it is there."""
    named = [beside(path, suffix) for suffix in (*LOG_SUFFIXES, BLOCKS)]
    return [one for one in (*segments(path), *named, path) if os.path.lexists(one)]


def _acknowledged(connection: duckdb.DuckDBPyConnection) -> Acknowledged:
    rows = dict(connection.execute("select key, value from meta").fetchall())
    return Acknowledged(bytes.fromhex(rows["database"]), int(rows["applied"]), synced=True)
