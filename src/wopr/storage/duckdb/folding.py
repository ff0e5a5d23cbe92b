"""Keep ``tasks`` equal to the fold of ``transitions``, in bulk and behind the commits."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

from wopr.config.crashpoint import crashpoint
from wopr.domain.task import COLUMNS, MUTABLE_COLUMNS
from wopr.storage.duckdb.file.opening import OpenedDatabase
from wopr.storage.duckdb.lines import Lines
from wopr.storage.duckdb.portions import PORTION_BYTES, weight
from wopr.storage.duckdb.write import Row, Write

FOLD_AT = 4_000
CHUNK = 1_000
FOLD_AT_BYTES = 32 * 1024 * 1024
IDLE_SECONDS = 0.05
CHECKPOINT_IDLE_SECONDS = 2.0
CHECKPOINT_WAL_BYTES = 1024 * 1024
WATERMARK_EVERY = 20_000
_VERSION = MUTABLE_COLUMNS.index("version")
_SEQ = COLUMNS.index("seq")
_STATUS = COLUMNS.index("status")
_ORIGIN: Callable[[Row], Row] = itemgetter(
    *map(COLUMNS.index, ("depends_on", "flow_id", "schedule"))
)
_NO_ORIGIN = (None, None, None)
FRESH_COLUMNS = (
    "id",
    "version",
    "seq",
    "name",
    "category",
    "priority",
    "max_retries",
    "args",
    "kwargs",
    "options",
    "unique_key",
    "run_at",
    "created_at",
)
"""What a task has to which nothing happened yet; its other columns have their defaults."""
ORIGIN_COLUMNS = ("waiting", "depends_on", "flow_id", "schedule", "scheduled_for")
"""What only tasks of a flow or a schedule have, or such that depend on others."""
_fresh_values: Callable[[Row], Row] = itemgetter(*map(COLUMNS.index, FRESH_COLUMNS))
_composed_values: Callable[[Row], Row] = itemgetter(
    *map(COLUMNS.index, FRESH_COLUMNS + ORIGIN_COLUMNS)
)
_mutable_values: Callable[[Row], Row] = itemgetter(slice(len(MUTABLE_COLUMNS)))


class Folding:
    """Committed task rows that are not in ``tasks`` yet; used by the writer thread only.

    ``dirty`` maps a task id to (newest row, whether ``tasks`` lacks it, the first
    seq not folded). Other threads may look single ids up.
    """

    def __init__(self, opened: OpenedDatabase, last_seq: int) -> None:
        self._opened = opened
        self.lines = Lines(opened)
        self.dirty: dict[str, tuple[Row, bool, int]] = {}
        self._committed_seq = last_seq
        self._bytes = 0  # of the log rows since everything was folded
        self._saved = last_seq
        self._not_before = 0.0
        self._suspect = False
        self._checkpointed = last_seq
        self._connect()

    def _connect(self) -> None:
        connection = self._opened.connection
        self._fresh: Any = connection.appender("tasks", columns=list(FRESH_COLUMNS))
        self._composed: Any = connection.appender(
            "tasks", columns=list(FRESH_COLUMNS + ORIGIN_COLUMNS)
        )
        self._insert: Any = connection.appender("tasks", columns=list(COLUMNS))
        self._update: Any = connection.appender(
            "tasks", columns=list(MUTABLE_COLUMNS), action="update", key=["id"]
        )

    def let_go(self) -> None:
        """Drop the appenders, which keep their database alive."""
        self._fresh = self._composed = self._insert = self._update = None

    def reconnected(self) -> None:
        """Make new appenders on the new connection."""
        self._connect()

    def add(self, batch: list[Write], committed_seq: int) -> None:
        """Note what a commit wrote."""
        dirty = self.dirty
        for write in batch:
            self._bytes += write.size
            for row, before in zip(write.rows, write.before, strict=True):
                known = dirty.get(row[0])
                if known is None:
                    # a new task's first transition is its add, though a claim may share the commit
                    first = row[_VERSION] if before else row[_SEQ]
                    dirty[row[0]] = (row, not before, first)
                else:
                    dirty[row[0]] = (row, known[1], known[2])
        self._committed_seq = committed_seq

    def keep_up(self) -> None:
        """Fold a part when so much has gathered that it can't wait for a quiet moment."""
        if time.monotonic() < self._not_before:
            return
        if self._bytes > FOLD_AT_BYTES:
            self.fold_all()
        if len(self.dirty) >= FOLD_AT:
            self.fold_some()
            while len(self.dirty) >= 2 * FOLD_AT:
                self.fold_some()
        self.lines.keep_up()

    def back_off(self) -> None:
        """Leave the database alone for a second; a commit that failed may have landed."""
        self._not_before = time.monotonic() + 1.0
        self._suspect = True

    @property
    def backing_off(self) -> bool:
        """Whether the second after a failure is not over yet."""
        return time.monotonic() < self._not_before

    def when_idle(self, idle: float) -> float | None:
        """Do what is due after ``idle`` seconds of quiet; return how long to sleep next."""
        wait = self._not_before - time.monotonic()
        if wait > 0:
            return wait
        self.lines.keep_up()  # jobs without commits, one after the other, are no quiet moment
        if self.dirty or self.lines:
            if idle < IDLE_SECONDS:
                return IDLE_SECONDS - idle
            if self.dirty:
                self.fold_some()
            else:
                self.lines.write_some()
            return 0.0 if self.dirty or self.lines else CHECKPOINT_IDLE_SECONDS
        if self._checkpointed == self._written:
            return None
        if idle < CHECKPOINT_IDLE_SECONDS:
            return CHECKPOINT_IDLE_SECONDS - idle
        self.save_watermark()
        self._checkpoint()
        return None

    def complete(self) -> None:
        """Bring all tables up to what was handed over: what people read, and an end, needs that."""
        self.fold_all()
        self.lines.write_all()

    def fold_all(self) -> None:
        """Bring ``tasks`` up to the last commit."""
        while self.dirty:
            self.fold_some()
        self._bytes = 0

    def fold_some(self) -> None:
        """Write up to :data:`CHUNK` dirty rows.

        New and changed rows go in statements of their own, each its own commit: a
        row's ``version`` says what it holds, so any part of them may be there after
        a crash. One statement waits for the interpreter once; a transaction around
        them would do so four times, and the event loop holds it most of the time.
        """
        if self._suspect:
            self._find_landed()
        dirty = self.dirty
        fresh: list[Row] = []
        composed: list[Row] = []
        inserts: list[Row] = []
        updates: list[Row] = []
        size = 0
        for row, new, _ in itertools.islice(dirty.values(), CHUNK):
            size += weight(row)
            if not new:
                updates.append(row)
            elif row[_VERSION] == row[_SEQ] and row[_STATUS] == "pending":
                (fresh if _ORIGIN(row) == _NO_ORIGIN else composed).append(row)
            else:
                inserts.append(row)
            if size > PORTION_BYTES:
                break
        crashpoint("fold.before")
        self._write(self._fresh, fresh, _fresh_values)
        self._write(self._composed, composed, _composed_values)
        crashpoint("fold.after_fresh")
        self._write(self._insert, inserts, None)
        crashpoint("fold.after_insert")
        self._write(self._update, updates, _mutable_values)
        crashpoint("fold.after_update")
        if self._folded() - self._saved >= WATERMARK_EVERY:
            self.save_watermark()

    def _write(self, appender: Any, rows: list[Row], values: Callable[[Row], Row] | None) -> None:
        if not rows:
            return
        try:
            self._flush(appender, rows if values is None else map(values, rows))
        except BaseException:
            self._suspect = True  # the commit may have landed all the same
            appender.clear()
            raise
        for row in rows:
            del self.dirty[row[0]]

    @staticmethod
    def _flush(appender: Any, rows: Iterable[Row]) -> None:
        appender.append_rows(rows)
        appender.flush()

    def _find_landed(self) -> None:
        """After a failed fold: what is in ``tasks`` already must not be inserted again."""
        seqs = [row[_SEQ] for row, new, _ in self.dirty.values() if new]
        if seqs:
            known = self._opened.connection.execute(
                "select id from tasks where seq between ? and ?", [min(seqs), max(seqs)]
            ).fetchall()
            for (task_id,) in known:
                row, _, first = self.dirty.get(str(task_id), ((), False, 0))
                if row:
                    self.dirty[str(task_id)] = (row, False, first)
        self._suspect = False

    @property
    def _written(self) -> int:
        """A number that grows with whatever fills DuckDB's log."""
        return self._committed_seq + self.lines.written

    def _folded(self) -> int:
        """Return a seq up to which ``tasks`` surely holds everything."""
        for _, _, first in self.dirty.values():
            return first - 1
        return self._committed_seq

    def save_watermark(self) -> None:
        """Remember in the file where a recovery has to start reading the log."""
        folded = self._folded()
        if folded != self._saved:
            self._opened.connection.execute(
                "update meta set value = ? where key = 'folded'", [str(folded)]
            ).fetchall()
            self._saved = folded

    def _checkpoint(self) -> None:
        """Move the log of DuckDB itself into the file while nobody waits."""
        self._checkpointed = self._written
        try:
            size = os.stat(f"{self._opened.path}.wal").st_size
        except OSError:
            return
        if size >= CHECKPOINT_WAL_BYTES:
            crashpoint("checkpoint.before")
            self._opened.connection.execute("checkpoint")
            crashpoint("checkpoint.after")
            self._opened.verify_in_place()  # makes the next log, readable by us only
