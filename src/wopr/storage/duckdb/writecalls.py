"""The calls of the storage that hand over transitions and progress."""

from __future__ import annotations

from collections.abc import Sequence

from wopr.domain.errors import StorageError
from wopr.domain.fold import apply
from wopr.domain.status import Move
from wopr.domain.task import TaskRecord
from wopr.ports.storage import Done, Entry
from wopr.storage.duckdb.base import Base
from wopr.storage.duckdb.journal.records import transition_record
from wopr.storage.duckdb.operations import unwritable
from wopr.storage.duckdb.write import Row, Write, nobody


def _unstorable(record: TaskRecord, error: Exception) -> StorageError:
    if isinstance(error, StorageError):
        return error
    failure = StorageError(
        f"A change of task {record.id} can't be stored: {type(error).__name__}: {error}. Nothing "
        "was written. A value of it is of a type that its column is not."
    )
    failure.__cause__ = error
    return failure


class WriteCalls(Base):
    """Each hands its rows over to the writer and returns; the port's log of transitions."""

    def submit(
        self, entries: Sequence[Entry], done: Done, *, urgent: bool = True, now: bool = False
    ) -> None:
        """Apply the transitions and make them durable; see the port."""
        write = Write(b"", len(entries), done, urgent)
        alone = False
        with self._order:
            self._check()
            try:
                self._apply(write, entries)
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for it
                self._undo(write)
                self._deliver([(write, _unstorable(entries[0][0], error))])
            else:
                alone = self._hand_over(write, now=now)
        if alone:
            self._turns.write_at_once()

    def _apply(self, write: Write, entries: Sequence[Entry]) -> None:
        """Give the transitions their numbers, apply them, and say so in records of the journal.

        Entries of one record stand together, so its row is made once, after the last.
        """
        records: list[TaskRecord] = []
        before: list[Row] = []
        lines: list[str] = []
        write.records, write.before = records, before
        seq = self._seq
        last: TaskRecord | None = None
        for record, transition in entries:
            seq += 1
            transition.seq = seq
            if record is not last:
                records.append(record)
                before.append(record.stored)
                last = record
            if transition.move is Move.ADD:
                record.seq = record.version = seq
            else:
                apply(record, transition)
            lines.append(transition_record(record, transition))
        try:
            write.content = "\n".join(lines).encode()
        except UnicodeEncodeError as error:
            raise unwritable(f"For task {records[0].id}", error) from error
        rows: list[Row] = []
        for record in records:
            record.stored = row = record.row()
            rows.append(row)
        write.rows = rows
        self._seq = write.seq = seq  # last: whatever fails before that gives its numbers back

    @staticmethod
    def _undo(write: Write) -> None:
        """Let the records be what they were, at once: their numbers are given again."""
        for record, row in zip(write.records, write.before, strict=True):
            if row:
                record.load(row)
        write.records = write.before = ()

    def in_flight(self, record: TaskRecord) -> bool:
        """Whether the record shows a transition that is not on disk yet."""
        return record.version > self._folding.pending.seq

    def touch(self, record: TaskRecord) -> None:
        """Store the record's progress with the next fold."""
        record.stored = row = record.row()
        with self._order:
            self._hand_over(Write(b"", 0, nobody, urgent=False, rows=[row]))
