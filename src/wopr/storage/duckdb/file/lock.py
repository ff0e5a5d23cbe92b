"""The lock that makes one process the owner of a database file.

DuckDB's own lock is a POSIX record lock: it silently vanishes when the process
opens and closes the file a second time, and a second process then writes into
the same file. Ours is ``flock`` on ``<file>.lock``, which nothing else opens.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import zlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from wopr.config.forks import close_in_children, take_away_files
from wopr.domain.clock import Clock, SystemClock, boot_id
from wopr.domain.errors import StorageFileError, StorageOwnedError
from wopr.domain.spoken import local
from wopr.storage.duckdb.disk import beside, sync, write_synced
from wopr.storage.duckdb.file.location import SETTING
from wopr.storage.duckdb.file.signature import COMING, left_to, receiver_in
from wopr.storage.duckdb.private import open_own

if sys.platform != "win32":
    import fcntl

_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


_ATTRIBUTE = "user.wopr.acknowledged"
_SECTOR = 512
"""Each of the two lines fills one: disks write it whole or not at all."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """How far a database was acknowledged at least."""

    database: bytes
    """Its identity: 16 bytes."""
    position: int
    """Of the last record of its journal."""
    synced: bool
    """Whether each record was synced before it was acknowledged."""


class FileLock:
    """Own ``<database>.lock`` from :meth:`acquire` to :meth:`release`.

    The lock file stays when the lock is released: deleting it would let two
    processes lock two files of the same name, if one of them did not look again. Only beside a
    database that was refused nothing stays of what was made for the look. It holds, as JSON,
    who owns it: ``pid``, ``boot_id`` and ``started_at``, and nothing when nobody does; an
    attribute of it says how far the database was :class:`Acknowledged`. A forked
    child owns nothing: its copy is closed at once, so the lock ends with the process that
    took it; so are its copies of the database and of what lies beside it.
    """

    def __init__(self, database: Path, clock: Clock | None = None, *, coming: bool = False) -> None:
        self._coming = coming
        self.database = database
        self.path = beside(database, ".lock")
        self._clock = clock or SystemClock()
        self._descriptor: int | None = None
        self._pid = 0
        self.made = False
        """Whether the lock file is new: nobody owned the database before, or it is a copy."""

    @property
    def held(self) -> bool:
        """Whether this process, not a parent it was forked from, owns the file."""
        return self._descriptor is not None and self._pid == os.getpid()

    def acquire(self) -> None:
        """Become the owner, without waiting.

        Raises:
            StorageOwnedError: Another queue has the file; ``pid`` is its process.
            StorageFileError: The lock file can't be made, or the file system
                has no locks.

        """
        while self._descriptor is None:
            descriptor = self._open()
            try:
                self._check_receiver(descriptor)  # its own try is not to meet this one
                self._lock(descriptor)
                if not self._still_there(descriptor):
                    continue  # deleted between opening and locking: lock the new one
                self._check_receiver(descriptor)
                self._sign(descriptor)
                self._descriptor, self._pid = descriptor, os.getpid()
            finally:
                if self._descriptor != descriptor:
                    os.close(descriptor)
        close_in_children(self)

    def release(self) -> None:
        """Give the file free. Without effect when it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if self._pid == os.getpid():
            with contextlib.suppress(OSError):  # who had it is a courtesy; the lock goes anyway
                left = left_to(_read(descriptor), SystemClock())
                if left:
                    os.pwrite(descriptor, _sector(left), 0)
                elif os.fstat(descriptor).st_size > _SECTOR:
                    os.pwrite(descriptor, b" " * (_SECTOR - 1) + b"\n", 0)
                else:
                    os.ftruncate(descriptor, 0)
        os.close(descriptor)

    def withdraw(self) -> None:
        """Give a file free that was refused, and delete the lock file if it was made for that."""
        if self.held and self.made and self.remembered() is None:
            with contextlib.suppress(OSError):
                self.path.unlink()  # under the lock: who waits for this one looks again
        self.release()

    def forget(self) -> None:
        """Let go of what a forked child inherited; the parent's lock is untouched."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
            take_away_files(self._belongs)

    def _belongs(self, path: str) -> bool:
        name = str(self.database)
        return path == name or path.startswith(
            (f"{name}.wal", f"{name}.journal-", f"{name}.tmp{os.sep}")
        )

    def remember(self, known: Acknowledged) -> None:
        """Note how far the database was acknowledged; on disk when this returns.

        Best effort: a second place, apart from the database and its journal.
        """
        if self._descriptor is not None:
            fields = [known.database.hex(), known.position, known.synced]
            line = {"acknowledged": fields, "checksum": zlib.crc32(repr(fields).encode())}
            with contextlib.suppress(OSError):
                _note(self._descriptor, _sector(line))

    def remembered(self) -> Acknowledged | None:
        """Return what was noted last; ``None`` if nothing can be read."""
        if self._descriptor is None:
            return None
        line = _noted(self._descriptor)
        fields = line.get("acknowledged")
        if not isinstance(fields, list) or line.get("checksum") != zlib.crc32(
            repr(fields).encode()
        ):
            return None
        match fields:
            case [str(database), int(position), bool(synced)]:
                with contextlib.suppress(ValueError):
                    return Acknowledged(bytes.fromhex(database), position, synced)
        return None

    def _open(self) -> int:
        try:
            self.made = not os.path.lexists(self.path)
            return open_own(self.path, os.O_RDWR | os.O_CREAT)
        except StorageFileError as error:
            raise StorageFileError(f"The lock file can't be used: {error}") from error
        except OSError as error:
            raise StorageFileError(
                f"The lock file {self.path} can't be opened: {error.strerror}. "
                f"wopr needs it beside the database file. Correct its permissions, "
                f"or set {SETTING} to a file elsewhere."
            ) from error

    def _lock(self, descriptor: int) -> None:
        if sys.platform == "win32":
            return  # DuckDB opens the file exclusively there, and keeps that lock
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _HELD:
                raise self._owned(_read(descriptor)) from None
            raise StorageFileError(
                f"The file system of {self.path} can't lock files: {error.strerror}. Without a "
                f"lock two processes would destroy the database. Set {SETTING} to a file on a "
                f"local disk."
            ) from error

    def _check_receiver(self, descriptor: int) -> None:
        """Leave the file to the process that the last owner has given it to."""
        receiver = receiver_in(_read(descriptor), SystemClock())
        if receiver is not None and receiver != os.getpid():
            raise owned_error(self.database, f"process {receiver}, which is opening it", receiver)

    def _still_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _sign(self, descriptor: int) -> None:
        owner = {
            "pid": os.getpid(),
            "boot_id": boot_id(),
            "started_at": self._clock.now().isoformat(timespec="seconds"),
        } | ({COMING: True} if self._coming else {})
        with contextlib.suppress(OSError):  # the lock holds without a name, too
            os.pwrite(descriptor, _sector(owner), 0)

    def _owned(self, owner: dict[str, Any]) -> StorageOwnedError:
        pid = _pid(owner.get("pid"))
        since = _since(owner.get("started_at"))
        if pid == os.getpid() and owner.get("boot_id") == boot_id():
            return StorageOwnedError(
                f"This process (pid {pid}) has the database file {self.database} open already"
                f"{since}. Use that TaskQueue, or shut it down before opening another one.",
                pid=pid,
            )
        if owner and owner.get("boot_id") != boot_id():
            who = f"process {pid} of another machine, which shares this directory"
        else:
            who = f"process {pid}" if pid else "a process that has not signed its lock yet"
        return owned_error(self.database, who + since, pid)


def _pid(value: object) -> int | None:
    """Return a process id, and nothing else that somebody wrote into the lock file."""
    return value if type(value) is int and 0 < value < 2**31 else None


def _since(value: object) -> str:
    try:
        return f" since {local(datetime.fromisoformat(str(value)))}"
    except (ValueError, OverflowError):
        return ""


def owned_error(database: Path, who: str, pid: int | None) -> StorageOwnedError:
    """Return the error for a file that somebody else has, with what can be done."""
    stop = f"stop it (kill {pid})" if pid else "stop it"
    return StorageOwnedError(
        f"The database file {database} belongs to {who}, and only one process can have it open. "
        f"Use the queue of that process, {stop}, or set {SETTING} to another file.",
        pid=pid,
    )


def _note(descriptor: int, line: bytes) -> None:
    """Keep a line with the file: as its attribute, or where there are none as its second line."""
    try:
        os.setxattr(descriptor, _ATTRIBUTE, line)
    except (AttributeError, OSError):
        write_synced(descriptor, line, _SECTOR)
    else:
        sync(descriptor)


def _noted(descriptor: int) -> dict[str, Any]:
    try:
        return _parsed(os.getxattr(descriptor, _ATTRIBUTE))
    except (AttributeError, OSError):
        return _read(descriptor, _SECTOR)


def _sector(line: dict[str, Any]) -> bytes:
    return json.dumps(line).encode().ljust(_SECTOR - 1) + b"\n"


def _read(descriptor: int, at: int = 0) -> dict[str, Any]:
    return _parsed(os.pread(descriptor, _SECTOR, at))


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
