"""When DuckDB's own log goes into its file, and what of the journal may be forgotten then."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

import duckdb

from wopr.config.crashpoint import crashpoint
from wopr.storage.duckdb.start import Started

log = logging.getLogger(__name__)

QUIET_SECONDS = 2.0
QUIET_BYTES = 1024 * 1024
AGAIN_SECONDS = 0.5
SHARE = 8
"""A checkpoint is due when the log has grown by this part of DuckDB's memory limit: then it is
short, and fits in memory together with what else goes on."""


class Checkpoints:
    """Makes them, in the thread that folds.

    A segment of the journal is forgotten when two checkpoints hold its records, so that the
    older one of DuckDB's two headers is good enough to start from.
    """

    def __init__(self, started: Started, memory_bytes: int) -> None:
        self._started = started
        self._opened = started.opened
        self._segments = started.segments
        self._limit = memory_bytes // SHARE
        self._grown = 0
        self._held = self._segments.position
        """Position that the last checkpoint holds."""
        self._marked = -1
        self.not_before = 0.0
        """They wait until then (on the monotonic clock): somebody copies the file."""
        self.acknowledged: Callable[[], int] = lambda: self._held
        """Gives the position of the last record that was taken over: none that may be withdrawn."""

    def grew(self, size: int) -> None:
        """Note that so many bytes were written."""
        self._grown += size

    def when_due(self, quiet: float, position: int) -> float | None:
        """Make one if it is due after so many seconds of quiet; return how long to sleep then.

        ``position`` is that of the last record that the tables hold.
        """
        if time.monotonic() < self.not_before:
            return AGAIN_SECONDS
        if not self._grown and not self._log_bytes(QUIET_BYTES):
            self._mark()
            return None
        if self._grown < self._limit:
            if quiet < QUIET_SECONDS:
                return QUIET_SECONDS - quiet
            self._mark()
            if not self._log_bytes(QUIET_BYTES):
                self._grown = 0
                return None
        return None if self.make(position) else AGAIN_SECONDS

    def make(self, position: int) -> bool:
        """Make one now; return whether DuckDB had nobody in the way."""
        self._mark()
        crashpoint("checkpoint.before")
        try:
            self._opened.checkpoint()
        except duckdb.TransactionException as error:
            log.info("A checkpoint is put off, because somebody reads: %s", error)
            return False
        crashpoint("checkpoint.after")
        self._grown = 0
        self._segments.forget(self._held)
        self._held = position
        return True

    def _log_bytes(self, least: int) -> bool:
        try:
            return os.stat(f"{self._opened.path}.wal").st_size >= least
        except OSError:
            return False

    def _mark(self) -> None:
        """Remember beside the database how far it was acknowledged."""
        position = self.acknowledged()
        if position != self._marked:
            self._marked = position
            self._started.remember(position)
