"""Open the database file: in one safe order, every time.

Real path and checks, our lock, leftovers, the log's structure, connect with no
automatic checkpoint and no way out of the file, refuse code in it, look at the schema
before anything is written, **CHECKPOINT as the first write** (without it DuckDB 2.0 saves
explicit indexes stale after a crash), and upgrade if needed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import weakref
from collections.abc import Callable
from pathlib import Path

import duckdb

from wopr.domain.clock import Clock, SystemClock
from wopr.domain.errors import (
    SchemaError,
    StorageError,
    StorageFileError,
    StorageForkedError,
)
from wopr.storage.duckdb.disk import beside, sync_file
from wopr.storage.duckdb.file import files, migrate, takeover
from wopr.storage.duckdb.file.catalogue import refuse_code
from wopr.storage.duckdb.file.checkpoint import checkpoint, forget
from wopr.storage.duckdb.file.connecting import connect
from wopr.storage.duckdb.file.files import clear_leftovers
from wopr.storage.duckdb.file.healing import heal
from wopr.storage.duckdb.file.holder import refuse_held
from wopr.storage.duckdb.file.location import locate
from wopr.storage.duckdb.file.lock import FileLock
from wopr.storage.duckdb.file.memory import with_enough
from wopr.storage.duckdb.file.ownlog import OwnLog
from wopr.storage.duckdb.file.repair import Repair, explain
from wopr.storage.duckdb.private import open_as_is, own_directory

log = logging.getLogger(__name__)


class OpenedDatabase:
    """A database file that this process owns, and the connection that writes to it.

    Not to be used by two threads at once, except :meth:`cursor`'s results: each
    belongs to the thread that uses it. :meth:`close` must run in a thread that
    no other is racing.
    """

    def __init__(
        self,
        path: Path,
        lock: FileLock,
        memory_limit: str,
        clock: Clock,
        in_order: Callable[[Path], bool],
    ) -> None:
        self.path = path
        self._name = str(path)  # looked at with each write: a Path costs more than the look
        self.lock = lock
        self.connection: duckdb.DuckDBPyConnection
        self.before_reopen: Callable[[], None] | None = None
        """Called by :meth:`reopen` first: whoever holds a cursor of its own lets it go."""
        self.journaled = False
        """Whether a journal lies beside the file, so that DuckDB's own log carries no promise."""
        self.memory_limit = memory_limit
        self.reach: tuple[Path, ...] = ()
        """Directories that its connections can reach, once the file was looked at without."""
        self._clock = clock
        self.descriptor: int | None = None
        self._repair = Repair(path, clock, in_order)
        self.log = OwnLog(beside(path, ".wal"))
        self._wal = str(self.log.path)
        self._cursors: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()
        self._identity = (0, 0)
        self._pid = os.getpid()
        self._open = False
        self._made = False  # by the last connecting

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection: a new opening may have failed."""
        return hasattr(self, "connection")

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return another connection to the database, for one other thread.

        Closed by :meth:`reopen` and :meth:`close`.
        """
        self._check_process()
        if not self.is_connected:
            raise StorageError(f"{self.path} failed and is being opened again; read it again soon.")
        cursor = self.connection.cursor()
        self._cursors.add(cursor)
        return cursor

    def check_in_place(self) -> None:
        """Check that the file is still the one that was opened; for any thread.

        DuckDB goes on writing to a deleted file and reports success.

        Raises:
            StorageFileError: The file was deleted, replaced or emptied.
            StorageForkedError: This process is a fork of the owner.

        """
        self._check_process()
        try:
            found = os.stat(self._name)
        except OSError as error:
            raise self._misplaced("was deleted or moved") from error
        if (found.st_dev, found.st_ino) != self._identity:
            raise self._misplaced("was replaced by another file")
        if found.st_size == 0:
            raise self._misplaced("was emptied")

    def verify_in_place(self) -> None:
        """Check before a commit that the file is still the one that was opened.

        Also makes the next log before DuckDB does, readable by the owner only and with
        its name on disk, whenever a checkpoint has removed the last one.

        Raises:
            StorageFileError: The file was deleted or replaced.
            StorageForkedError: This process is a fork of the owner.

        """
        self.check_in_place()
        if self.log.was_cut():
            log.error(
                "Somebody deleted, replaced or cut %s, the log of an open database. All that it "
                "held is written into the database file now, so nothing is lost. Find out who "
                "did that: a kill in between would have had to be repaired from the journal.",
                self._wal,
            )
            self.checkpoint()
        self.log.make_sure()

    def reopen(self) -> None:
        """Connect again after a fatal error; the lock is kept all the time.

        Closes every cursor. Nothing acknowledged is lost: it is in the file or its log.

        Raises:
            StorageError: The file can't be opened now; calling again is allowed.
            StorageForkedError: This process is a fork of the owner.

        """
        self._check_process()
        if self.before_reopen is not None:
            self.before_reopen()
        self.disconnect()
        self.connect()

    def checkpoint(self) -> None:
        """Move DuckDB's log into the file. The only place where that happens, once it is open.

        Raises:
            duckdb.TransactionException: Somebody's transaction is in the way.

        """
        self._checkpoint(self.connection)
        self.verify_in_place()  # makes the next log, readable by us only

    def _checkpoint(self, connection: duckdb.DuckDBPyConnection) -> None:
        assert self.descriptor is not None, "DuckDB has the file"
        self.log.may_begin_anew()
        checkpoint(connection, self.path, self.descriptor)

    def close(self, *, checkpoint: bool = True) -> None:
        """Write everything into the file, close every connection and give the lock free.

        Idempotent. Without ``checkpoint`` the log stays, for the next opening
        to read. In a forked child it only lets go.
        """
        if os.getpid() == self._pid:
            if self._open and checkpoint and self._in_place():
                # What a failed checkpoint leaves is in the log: the next opening reads it.
                with contextlib.suppress(duckdb.Error, StorageError):
                    self.checkpoint()
                    forget(self.path)
            self.disconnect()
        self.lock.release()

    def connect(self) -> None:
        """Connect by the sequence of this module. The lock must be held."""
        clear_leftovers(self.path)
        with contextlib.suppress(FileNotFoundError):
            sync_file(self.path)  # a header that a failed checkpoint left is trusted from here on
        heal(self.path, self._clock)
        self._made = not self.path.exists() or self.path.stat().st_size == 0
        if self._made:
            self._refuse_to_begin_anew()
            self._repair.before_opening()
            migrate.create_file(self.path)
        try:
            self.connection = self._repair.opening(self._open_somehow, journaled=self.journaled)
            self._open = True
            self._finish()
        except BaseException:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Close every connection, nothing else. Idempotent."""
        self._open = False
        for cursor in list(self._cursors):
            with contextlib.suppress(duckdb.Error):
                cursor.interrupt()
            with contextlib.suppress(duckdb.Error):
                cursor.close()
        if self.is_connected:
            self._detach(self.connection)
            del self.connection
        with contextlib.suppress(OSError):
            os.rmdir(beside(self.path, ".tmp"))
        self.log.remove_if_empty()

    def _attach(self, memory_limit: str, reach: tuple[Path, ...] = ()) -> duckdb.DuckDBPyConnection:
        """Connect, and keep a descriptor of our own for as long as DuckDB has the file.

        DuckDB's lock on the file vanishes when any descriptor of it is closed here.
        """
        own_directory(beside(self.path, ".tmp"))  # DuckDB would make it readable to all
        connection = connect(self.path, memory_limit, reach=reach)
        self.descriptor = open_as_is(self.path, os.O_RDONLY)
        return connection

    def _detach(self, connection: duckdb.DuckDBPyConnection) -> None:
        with contextlib.suppress(duckdb.Error):
            connection.close()
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open_somehow(self) -> duckdb.DuckDBPyConnection:
        """Connect; with more memory than allowed when a large log does not fit otherwise."""
        asked = self.memory_limit
        connection, limit = with_enough(asked, self._connect)
        if limit == asked and not self.reach:
            return connection
        if limit != asked:
            log.warning(
                "%s needs more memory to be opened than WOPR_TASKS_MEMORY_LIMIT = %s allows: its "
                "log is too large. It was opened with %s, and what was in its log is in the file "
                "now.",
                self.path,
                asked,
                limit,
            )
        self._detach(connection)
        return self._attach(asked, self.reach)

    def _connect(self, memory_limit: str) -> duckdb.DuckDBPyConnection:
        connection = self._attach(memory_limit)
        try:
            state = self._examine(connection)
            if state.revision == migrate.head() and not state.missing:
                self._checkpoint(connection)
                return connection
        except BaseException:
            self._detach(connection)  # a reopening needs this instance gone
            raise
        self._detach(connection)  # nothing was written yet, and nothing is by closing
        self._bring_up(state, memory_limit)
        return self._connect(memory_limit)

    def _examine(self, connection: duckdb.DuckDBPyConnection) -> migrate.FileState:
        if self._made:
            return migrate.FileState(migrate.head())
        refuse_code(connection, self.path)
        return migrate.examine(connection)

    def _bring_up(self, state: migrate.FileState, memory_limit: str) -> None:
        """Make the file one of the newest schema, after a copy, or refuse it untouched."""
        if state.revision is None and state.tables:
            takeover.take_over(self.path, state)
            return
        if state.revision is not None:
            migrate.refuse_unknown(self.path, state)
            migrate.back_up(self.path, state.revision)
        connection = self._attach(memory_limit)
        try:
            self._checkpoint(connection)
            self.log.create()
            migrate.bring_up(connection, state.revision)
            self._checkpoint(connection)
        except duckdb.Error as error:
            raise SchemaError(
                f"{self.path} could not be upgraded from schema {state.revision} to "
                f"{migrate.head()}, and still has the old one: {error}. Free some disk space if "
                f"that is the reason, or go back to the wopr that wrote it."
            ) from error
        finally:
            self._detach(connection)

    def _finish(self) -> None:
        connection = self.connection
        mode = connection.execute("SELECT current_setting('fsync_mode')").fetchone()
        if mode is None or mode[0] == "NONE":
            raise StorageFileError(
                f"DuckDB is set to fsync_mode = {mode}: commits to {self.path} would not survive "
                f"a power cut. Remove that setting."
            )
        found = os.stat(self.path)
        self._identity = (found.st_dev, found.st_ino)
        self.log.create()

    def _refuse_to_begin_anew(self) -> None:
        """Raise if a file that is missing or empty left something behind that holds tasks."""
        log = Path(self._wal)
        left = [log.name] if log.exists() and log.stat().st_size else []
        if self.journaled:
            left.append(f"{self.path.name}.journal-*")
        if left:
            what = "is empty" if self.path.exists() else "does not exist"
            raise StorageFileError(
                f"The database file {self.path} {what}, but beside it lies {' and '.join(left)}, "
                f"which belongs to it and may hold tasks. Nothing was changed. Put the file back, "
                f"or restore a backup; to begin with no tasks, move the rest away too: "
                f"wopr db accept -d {shlex.quote(str(self.path))}"
            )

    def _in_place(self) -> bool:
        try:
            self.verify_in_place()
        except StorageError:
            return False
        return True

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise StorageForkedError(
                f"The database {self.path} was opened by process {self._pid}; this process "
                f"({os.getpid()}) is a fork of it and can't use it: its writes would be lost. "
                f"Open queues after os.fork(), or start the child with spawn."
            )

    def _misplaced(self, what: str) -> StorageFileError:
        return StorageFileError(
            f"The database file {self.path} {what} while process {self._pid} had it open. What is "
            f"written now would vanish, so nothing is accepted any more. Put the file back and "
            f"restart; until the process ends, its content is in /proc/{self._pid}/fd."
        )


def open_database(
    path: str | os.PathLike[str],
    *,
    memory_limit: str = "200MB",
    create: bool = True,
    clock: Clock | None = None,
    before: Callable[[OpenedDatabase], None] = lambda opened: None,
    in_order: Callable[[Path], bool] = lambda copy: False,
    coming: bool = False,
) -> OpenedDatabase:
    """Open the database file and own it until it is closed.

    A missing file is created, whole or not at all; one of an older wopr is
    copied and upgraded; one of Gobstopper is copied and taken over. ``before`` is
    called when nobody else can have it and nothing was touched yet. ``in_order`` judges
    a copy that was mended. ``coming`` has other processes wait for this one to listen.

    Raises:
        StorageOwnedError: Another process has it open.
        SchemaError: It is of a newer wopr, or not a wopr file. It is untouched.
        StorageFileError: It can't be used; the message says why and what to do.
    """
    real = locate(path, create=create)
    clock = clock or SystemClock()
    lock = FileLock(real, clock, coming=coming)
    lock.acquire()
    try:
        files.refuse_things_of_others(real)
        refuse_held(real)
        opened = OpenedDatabase(real, lock, memory_limit, clock, in_order)
        before(opened)
        opened.connect()
    except duckdb.Error as error:
        lock.withdraw()
        raise explain(real, error) from error
    except OSError as error:
        lock.withdraw()
        raise StorageFileError(
            f"The database file {real} can't be opened: {error}. Check the free space of its disk "
            f"and the permissions of its directory, then start again."
        ) from error
    except BaseException:
        lock.withdraw()
        raise
    return opened
