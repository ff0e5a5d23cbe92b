"""The calls of the storage that hand over transitions and progress."""

from __future__ import annotations

from collections.abc import Sequence

from wopr.domain.fold import apply
from wopr.domain.status import Move
from wopr.domain.task import TaskRecord
from wopr.domain.transition import encode_added, encode_data
from wopr.ports.storage import Done, Entry
from wopr.storage.duckdb.base import Base
from wopr.storage.duckdb.write import Row, Write, nobody


class WriteCalls(Base):
    """Each hands its rows over to the writer and returns; the port's log of transitions."""

    def submit(self, entries: Sequence[Entry], done: Done, *, urgent: bool = True) -> None:
        """Apply the transitions and commit them; see the port."""
        with self._order:
            self._check()
            self._writer.submit(self._applied(entries, done, urgent=urgent))

    def _applied(self, entries: Sequence[Entry], done: Done, *, urgent: bool) -> Write:
        """Give the transitions their numbers, apply them, and return what is to be written.

        Entries of one record stand together, so its row is made once, after the last.
        """
        write = Write([], [], [], [], done, urgent)
        logs, records = write.logs, write.records
        seq = self._seq
        size = 0
        last: TaskRecord | None = None
        for record, transition in entries:
            seq += 1
            transition.seq = seq
            if record is not last:
                records.append(record)
                write.before.append(record.stored)
                last = record
            if transition.move is Move.ADD:
                record.seq = record.version = seq
                data: str | None = encode_added(record)
            else:
                apply(record, transition)
                data = encode_data(transition.data)
            if data is not None:
                size += len(data)
            before = transition.from_status
            row: Row = (
                seq,
                transition.task_id,
                transition.attempt,
                None if before is None else before._value_,
                transition.to_status._value_,
                transition.occurred_at,
                transition.worker,
                transition.reason,
                transition.error,
                data,
            )
            logs.append(row)
        self._seq, write.size = seq, size
        for record in records:
            record.stored = row = record.row()
            write.rows.append(row)
        return write

    def in_flight(self, record: TaskRecord) -> bool:
        """Whether the record shows a transition that is not on disk yet."""
        return record.version > self._writer.committed_seq

    @property
    def full(self) -> bool:
        """Whether the writer has as much to do as memory allows."""
        return self._opened is not None and self._writer.full

    async def room(self) -> None:
        """Wait until the writer can take more."""
        while self._writer.full:
            await self._in_writer(lambda: None)

    def touch(self, record: TaskRecord) -> None:
        """Store the record's progress with the next fold."""
        record.stored = row = record.row()
        with self._order:
            self._writer.submit(Write([], [], [row], [row], nobody, urgent=False))
