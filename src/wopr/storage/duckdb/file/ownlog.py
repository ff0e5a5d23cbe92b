"""DuckDB's own log as a file: for its owner only, and watched so that nobody cuts it short."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from wopr.storage.duckdb.disk import sync_directory
from wopr.storage.duckdb.private import look, open_own


class OwnLog:
    """The log of one open database."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: tuple[int, int] | None = None
        """Inode and length after the last commit since it was begun."""

    def create(self) -> None:
        """Make it before DuckDB does, for its owner only and with its name on disk."""
        os.close(open_own(self.path, os.O_WRONLY | os.O_CREAT))
        sync_directory(self.path.parent)

    def make_sure(self) -> None:
        """Make it if a checkpoint has removed it; only we may read it, and it is a file of ours.

        Raises:
            StorageFileError: Something else has its name.

        """
        found = look(self.path)
        if found is None:
            self.create()
        elif found.st_mode & 0o077:  # DuckDB made it, after a checkpoint within a commit
            os.chmod(self.path, 0o600)

    def remove_if_empty(self) -> None:
        """Delete it when nothing is in it."""
        with contextlib.suppress(OSError):
            if self.path.stat().st_size == 0:
                self.path.unlink()

    def committed(self) -> None:
        """Note how long it is after a commit: it does not get shorter by itself."""
        with contextlib.suppress(OSError):
            found = os.stat(self.path)
            self._known = found.st_ino, found.st_size

    def may_begin_anew(self) -> None:
        """Expect nothing of it any more: a checkpoint comes."""
        self._known = None

    def was_cut(self) -> bool:
        """Whether somebody deleted, replaced or cut it since the last commit."""
        if self._known is None:
            return False
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return True
        return found.st_ino != self._known[0] or found.st_size < self._known[1]
