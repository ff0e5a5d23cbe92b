"""The lines that tasks log, on their way into the table ``task_logs``.

Like progress they are no transitions: written in bulk and behind the commits, so a
crash cuts off about the last second of them.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Sequence

import duckdb

from wopr.domain.jsontext import clip
from wopr.domain.logline import LogLine
from wopr.domain.proportion import in_proportion
from wopr.storage.duckdb.failures import may_be_the_rows
from wopr.storage.duckdb.file.opening import OpenedDatabase
from wopr.storage.duckdb.portions import PORTION_BYTES

log = logging.getLogger(__name__)

Row = tuple[object, ...]

CHUNK = 1_000
WRITE_AT = 2_000
WRITE_AFTER_SECONDS = 1.0
MAX_LINES = 100_000
MAX_BYTES = 32 * 1024 * 1024
MAX_MESSAGE_BYTES = 64 * 1024
MAX_NAME_BYTES = 1024
_OTHER_BYTES = 200


def _row(line: LogLine) -> Row:
    return (
        line.task_id,
        line.attempt,
        line.number,
        line.logged_at,
        clip(line.level, MAX_NAME_BYTES),
        clip(line.logger, MAX_NAME_BYTES),
        clip(line.message, MAX_MESSAGE_BYTES),
    )


def _weight(row: Row) -> int:
    return _OTHER_BYTES + len(str(row[-1]))


class Lines:
    """Log lines that are not in ``task_logs`` yet."""

    def __init__(self, opened: OpenedDatabase, memory_bytes: int) -> None:
        self._opened = opened
        self._memory_bytes = memory_bytes
        self._pending: deque[Row] = deque()
        self._batch: list[Row] = []  # taken out of it to be written together
        self._since = 0.0  # when the oldest pending line came, or later
        # Each is counted by one side only: "+=" of two threads on one number loses some.
        self._bytes_in = self._bytes_out = 0
        self._full = self._said_so = False
        self._suspect = False
        self.written = 0

    def __len__(self) -> int:
        """Return how many lines are not written yet."""
        return len(self._pending) + len(self._batch)

    def add(self, lines: Sequence[LogLine]) -> bool:
        """Take lines over, but drop them while too much is pending.

        For any thread, never for two at once. Return whether the writer may be asleep.
        """
        if not self._pending:
            self._since = time.monotonic()
            self._full = self._said_so = False
        most = in_proportion(MAX_BYTES, self._memory_bytes)
        for line in lines:
            if len(self._pending) >= MAX_LINES or self._bytes_in - self._bytes_out >= most:
                self._full = True
                break
            row = _row(line)
            self._bytes_in += _weight(row)
            self._pending.append(row)
        # Had one been pending all the while, the writer would not go to sleep over it.
        return len(self._pending) <= len(lines)

    def report(self) -> None:
        """Say that lines are dropped, once until all that is pending was written."""
        if self._full and not self._said_so:
            self._said_so = True
            log.warning(
                "Tasks log faster than the disk takes it: %d of their lines wait, and what they "
                "log until those are written is not kept with them. Let them log less, or keep "
                "fewer lines per attempt: WOPR_TASKS_LOG_LINES.",
                len(self._pending),
            )

    # -- for the writer's thread ----------------------------------------------

    def keep_up(self) -> None:
        """Write a part when so much has gathered, or so long ago, that it can't wait."""
        count = len(self)
        if count >= WRITE_AT or (count and time.monotonic() - self._since > WRITE_AFTER_SECONDS):
            self.write_some()
        while len(self) >= 2 * WRITE_AT:
            self.write_some()

    def write_all(self) -> None:
        """Write what is pending now; a failure is reported, and it stays pending."""
        left = len(self)
        try:
            while left > 0:
                left -= self.write_some()
        except Exception as error:  # noqa: BLE001 - nothing else may fail because of log lines
            log.error("Lines that tasks logged could not be stored yet: %s", error)

    def write_some(self) -> int:
        """Write up to :data:`CHUNK` lines in one commit; return how many.

        After a failure the same ones are written, unless they had landed all the same.
        """
        if not self._batch:
            self._fill()
        count = len(self._batch)
        if count and not (self._suspect and self._landed()):
            self._append()
        self._suspect = False
        self._bytes_out += sum(map(_weight, self._batch))
        self.written += count
        self._batch = []
        self._since = time.monotonic()
        return count

    def _fill(self) -> None:
        size = 0
        while self._pending and len(self._batch) < CHUNK and size < PORTION_BYTES:
            row = self._pending[0]
            self._batch.append(row)  # first: whoever asks how many there are never misses one
            self._pending.popleft()
            size += _weight(row)

    def _append(self) -> None:
        appender = self._opened.connection.appender("task_logs")
        try:
            appender.append_rows(self._batch)
            appender.flush()
        except Exception as error:
            with contextlib.suppress(duckdb.Error):
                appender.clear()
            if not may_be_the_rows(error):
                self._suspect = True
                raise
            log.error("%d lines that tasks logged are dropped: %s", len(self._batch), error)
        finally:
            del appender  # else the error's traceback keeps a broken database alive

    def _landed(self) -> bool:
        found = self._opened.connection.execute(
            "select 1 from task_logs where task_id = ? and attempt = ? and number = ?",
            list(self._batch[0][:3]),
        ).fetchall()
        return bool(found)
