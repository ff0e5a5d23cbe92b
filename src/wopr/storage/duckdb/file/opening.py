"""Open the database file: in one safe order, every time.

Real path and checks, our lock, leftovers, the log's structure, connect with no
automatic checkpoint, look at the schema before anything is written, **CHECKPOINT
as the first write** (without it DuckDB 2.0 saves explicit indexes stale after a
crash), upgrade if needed, working settings, and the configuration locked last.
"""

from __future__ import annotations

import contextlib
import os
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
from wopr.storage.duckdb.file import migrate, takeover
from wopr.storage.duckdb.file.files import (
    beside,
    clear_leftovers,
    install,
    sync_directory,
    workshop,
)
from wopr.storage.duckdb.file.location import locate
from wopr.storage.duckdb.file.lock import FileLock
from wopr.storage.duckdb.file.repair import Repair, explain

CHECKPOINT_AT = "256MB"
"""The size of DuckDB's log at which a commit has to checkpoint, if no idle moment came."""

Settings = dict[str, str | bool | int | float | list[str]]
"""What ``duckdb.connect`` takes as its configuration."""

_FATAL = ("database has been invalidated", "FATAL Error", "INTERNAL Error")


def is_fatal(error: BaseException) -> bool:
    """Return whether the error, or what caused it, made the open database unusable."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (duckdb.FatalException, duckdb.InternalException)):
            return True
        if isinstance(cause, duckdb.Error) and any(sign in str(cause) for sign in _FATAL):
            return True
        cause = cause.__cause__
    return False


def settings(path: Path, memory_limit: str) -> Settings:
    """Return the configuration of every connection to a wopr file.

    One DuckDB instance has one configuration, so all of it is given here. There
    are no threads of its own: the embedding process has its own use for the
    cores, and threads do not survive a fork.
    """
    return {
        "threads": 1,
        "async_threads": 0,
        "memory_limit": memory_limit,
        "temp_directory": str(beside(path, ".tmp")),
        "wal_autocheckpoint": "16GB",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "allow_persistent_secrets": "false",
        "python_enable_replacements": "false",
    }


class OpenedDatabase:
    """A database file that this process owns, and the connection that writes to it.

    Not to be used by two threads at once, except :meth:`cursor`'s results: each
    belongs to the thread that uses it. :meth:`close` must run in a thread that
    no other is racing.
    """

    def __init__(self, path: Path, lock: FileLock, memory_limit: str, clock: Clock) -> None:
        self.path = path
        self.lock = lock
        self.connection: duckdb.DuckDBPyConnection
        self.before_reopen: Callable[[], None] | None = None
        """Called by :meth:`reopen` first: whoever holds a cursor of its own lets it go."""
        self._memory_limit = memory_limit
        self._repair = Repair(path, clock)
        self._wal = str(beside(path, ".wal"))
        self._cursors: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()
        self._identity = (0, 0)
        self._pid = os.getpid()
        self._open = False

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return another connection to the database, for one other thread.

        Closed by :meth:`reopen` and :meth:`close`.
        """
        self._check_process()
        cursor = self.connection.cursor()
        self._cursors.add(cursor)
        return cursor

    def verify_in_place(self) -> None:
        """Check before a commit that the file is still the one that was opened.

        DuckDB goes on writing to a deleted file and reports success. Also makes
        the next log before DuckDB does, readable by the owner only and with its
        name on disk, whenever a checkpoint has removed the last one.

        Raises:
            StorageFileError: The file was deleted or replaced.
            StorageForkedError: This process is a fork of the owner.

        """
        self._check_process()
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise self._misplaced("was deleted or moved") from error
        if (found.st_dev, found.st_ino) != self._identity:
            raise self._misplaced("was replaced by another file")
        try:
            mode = os.stat(self._wal).st_mode
        except FileNotFoundError:
            self._create_wal()
        else:
            if mode & 0o077:  # DuckDB made it, after a checkpoint within a commit
                os.chmod(self._wal, 0o600)

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

    def close(self, *, checkpoint: bool = True) -> None:
        """Write everything into the file, close every connection and give the lock free.

        Idempotent. Without ``checkpoint`` the log stays, for the next opening
        to read. In a forked child it only lets go.
        """
        if os.getpid() == self._pid:
            if self._open and checkpoint and self._in_place():
                # What a failed checkpoint leaves is in the log: the next opening reads it.
                with contextlib.suppress(duckdb.Error):
                    self.connection.execute("CHECKPOINT")
            self.disconnect()
        self.lock.release()

    def connect(self) -> None:
        """Connect by the sequence of this module. The lock must be held."""
        clear_leftovers(self.path)
        if not self.path.exists() or self.path.stat().st_size == 0:
            self._repair.before_opening()
            _create(self.path)
        self.connection = self._repair.opening(self._connect)
        self._open = True
        try:
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
        if hasattr(self, "connection"):
            with contextlib.suppress(duckdb.Error):
                self.connection.close()
            del self.connection
        with contextlib.suppress(OSError):
            os.rmdir(beside(self.path, ".tmp"))
        _remove_if_empty(Path(self._wal))

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection = connect(self.path, self._memory_limit)
        try:
            state = migrate.examine(connection)
        except BaseException:
            connection.close()
            raise
        if state.revision == migrate.head() and not state.missing:
            try:
                connection.execute("CHECKPOINT")
            except BaseException:
                connection.close()  # as above: a reopening needs this instance gone
                raise
            return connection
        connection.close()  # nothing was written yet, and nothing is by closing
        self._bring_up(state)
        return connect(self.path, self._memory_limit)

    def _bring_up(self, state: migrate.FileState) -> None:
        """Make the file one of the newest schema, after a copy, or refuse it untouched."""
        if state.revision is None and state.tables:
            takeover.take_over(self.path, state)
            return
        if state.revision is not None:
            migrate.refuse_unknown(self.path, state)
            migrate.back_up(self.path, state.revision)
        connection = connect(self.path, self._memory_limit)
        try:
            connection.execute("CHECKPOINT")
            self._create_wal_if_missing()
            if state.revision is None:
                migrate.create(connection)
            else:
                migrate.upgrade(connection)
            connection.execute("CHECKPOINT")
        except duckdb.Error as error:
            raise SchemaError(
                f"{self.path} could not be upgraded from schema {state.revision} to "
                f"{migrate.head()}, and still has the old one: {error}. Free some disk space if "
                f"that is the reason, or go back to the wopr that wrote it."
            ) from error
        finally:
            connection.close()

    def _finish(self) -> None:
        connection = self.connection
        mode = connection.execute("SELECT current_setting('fsync_mode')").fetchone()
        if mode is None or mode[0] == "NONE":
            raise StorageFileError(
                f"DuckDB is set to fsync_mode = {mode}: commits to {self.path} would not survive "
                f"a power cut. Remove that setting."
            )
        connection.execute(f"SET wal_autocheckpoint = '{CHECKPOINT_AT}'")
        connection.execute("SET lock_configuration = true")
        found = os.stat(self.path)
        self._identity = (found.st_dev, found.st_ino)
        self._create_wal_if_missing()
        with contextlib.suppress(FileExistsError):
            os.mkdir(beside(self.path, ".tmp"), 0o700)  # DuckDB would make it readable to all

    def _create_wal_if_missing(self) -> None:
        if not os.path.exists(self._wal):
            self._create_wal()

    def _create_wal(self) -> None:
        os.close(os.open(self._wal, os.O_WRONLY | os.O_CREAT, 0o600))
        sync_directory(self.path.parent)

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


def connect(path: Path, memory_limit: str) -> duckdb.DuckDBPyConnection:
    """Connect with wopr's settings; closing the connection never writes by itself."""
    connection = duckdb.connect(str(path), config=settings(path, memory_limit))
    try:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        # Not in the configuration: DuckDB applies that in no fixed order, and then refuses
        # temp_directory about every second time.
        connection.execute("SET enable_external_access = false")
        # Strings of more than 4 kB would be compressed with it, and reading one of them back
        # takes the memory of the 2,048 around it: with payloads of 100 kB more than the limit.
        connection.execute("SET disabled_compression_methods = 'zstd'")
        # Times in the file are UTC without a zone. With the zone of the machine, now() and aware
        # parameters of a query would be compared with them off by that zone.
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
    except BaseException:
        connection.close()  # else the error's traceback keeps a broken database alive
        raise
    return connection


def open_database(
    path: str | os.PathLike[str],
    *,
    memory_limit: str = "200MB",
    create: bool = True,
    clock: Clock | None = None,
) -> OpenedDatabase:
    """Open the database file and own it until it is closed.

    A missing file is created, whole or not at all; one of an older wopr is
    copied and upgraded; one of Gobstopper is copied and taken over.

    Raises:
        StorageOwnedError: Another process has it open.
        SchemaError: It is of a newer wopr, or not a wopr file. It is untouched.
        StorageFileError: It can't be used; the message says why and what to do.

    """
    real = locate(path, create=create)
    clock = clock or SystemClock()
    lock = FileLock(real, clock)
    lock.acquire()
    try:
        opened = OpenedDatabase(real, lock, memory_limit, clock)
        opened.connect()
    except duckdb.Error as error:
        lock.release()
        raise explain(real, error) from error
    except OSError as error:
        lock.release()
        raise StorageFileError(
            f"The database file {real} can't be opened: {error}. Check the free space of its disk "
            f"and the permissions of its directory, then start again."
        ) from error
    except BaseException:
        lock.release()
        raise
    return opened


def _create(path: Path) -> None:
    """Build a new file aside and put it in place when it is whole."""
    with workshop(path) as new:
        connection = duckdb.connect(str(new), config={"threads": 1, "async_threads": 0})
        try:
            migrate.create(connection)
            connection.execute("CHECKPOINT")
        finally:
            connection.close()
        install(new, path)


def _remove_if_empty(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.stat().st_size == 0:
            path.unlink()
