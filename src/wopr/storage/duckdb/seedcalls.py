"""The four calls of the seed's storage, for code that uses a storage by itself.

They block until the change is on disk, like the seed's, so use them in scripts
and tests; the queue itself never does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import duckdb

from wopr.domain.clock import SystemClock, naive_now
from wopr.domain.errors import InvalidCallError
from wopr.domain.snapshot import plain_snapshot, record_of
from wopr.domain.status import Move, TaskStatus
from wopr.domain.task import TaskInfo, TaskRecord
from wopr.domain.transition import Transition, added
from wopr.ports.storage import Entry, TaskFilter
from wopr.storage.duckdb import reads
from wopr.storage.duckdb.cleanup import doomed
from wopr.storage.duckdb.operations import delete_tasks
from wopr.storage.duckdb.write import Waiter, Write
from wopr.storage.duckdb.writecalls import WriteCalls

T = TypeVar("T")

REASON = "save_task"
_STATE = (
    "retry_count",
    "crashes",
    "run_at",
    "started_at",
    "completed_at",
    "elapsed_seconds",
    "worker",
    "result",
    "error",
    "error_type",
    "progress",
    "progress_message",
    "waiting",
    "progress_data",
)


class SeedCalls(WriteCalls):
    """``save_task``, ``get_task``, ``get_tasks`` and ``cleanup_old_tasks``."""

    def save_task(self, task_info: TaskInfo) -> None:
        """Write the whole task, new or known; returns once it is on disk.

        Raises:
            InvalidCallError: it is no TaskInfo, or its id is no UUID.
            StorageError: the storage refused it.
        """
        if not isinstance(task_info, TaskInfo):
            raise InvalidCallError(f"save_task() takes a TaskInfo, not {task_info!r:.80}.")
        if not reads.is_id(task_info.id):
            raise InvalidCallError(f"A task id is a UUID, not {task_info.id!r:.80}.")
        wanted = record_of(task_info)
        known = self._read_now(lambda cursor: reads.get(cursor, wanted.id))
        self._write_now(_entries(wanted, known))

    def get_task(self, task_id: str) -> TaskInfo | None:
        """Return a task; ``None`` if there is none with this id."""
        record = self._read_now(lambda cursor: reads.get(cursor, task_id))
        return None if record is None else plain_snapshot(record)

    def get_tasks(
        self,
        category: str | None = None,
        status: TaskStatus | None = None,
        name: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[TaskInfo]:
        """Return matching tasks, newest first."""
        query = TaskFilter(
            category=category,
            status=None if status is None else TaskStatus(status),
            name=name,
            limit=limit,
            offset=offset,
        )
        found = self._read_now(lambda cursor: reads.find(cursor, query))
        return [plain_snapshot(record) for record in found]

    def cleanup_old_tasks(
        self,
        days: int | None = None,
        months: int | None = None,
        years: int | None = None,
    ) -> int:
        """Delete tasks that ended longer ago than the periods together; return how many."""
        given = ((days, 1), (months, 30), (years, 365))
        periods = [value * factor for value, factor in given if value is not None]
        if not periods:
            return 0
        before = naive_now(SystemClock())
        before -= timedelta(days=sum(periods))
        return self._cleanup_now(before)

    # -- in the calling thread's time; the file is opened if need be --------

    def _write_now(self, entries: Sequence[Entry]) -> None:
        self._open_now()
        waiter = Waiter()
        self._threads_wait += 1
        try:
            self.submit(entries, waiter)
            waiter.wait()
        finally:
            self._threads_wait -= 1

    def _read_now(self, read: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        self._open_now()
        self._call(lambda: None).result()
        return self._reader.submit(read).result()

    def _cleanup_now(self, before: datetime) -> int:
        self._open_now()
        total = 0
        while ids := self.in_writer(lambda connection: doomed(connection, before)).result():
            self._log_now(delete_tasks(ids, before, keep_history=False))
            total += len(ids)
        return total

    def _log_now(self, record: bytes) -> None:
        waiter = Waiter()
        self._threads_wait += 1
        try:
            with self._order:
                self._check()
                self._hand_over(Write(record, 1, waiter, operations=True))
            waiter.wait()
        finally:
            self._threads_wait -= 1

    def _open_now(self) -> None:
        if not self.is_open:
            self.open_sync()


def _entries(wanted: TaskRecord, known: TaskRecord | None) -> list[Entry]:
    """Return what to write: the row is set as a whole, whatever move leads there."""
    entries: list[Entry] = []
    record = known
    if record is None:
        record = TaskRecord(
            wanted.id,
            wanted.name,
            wanted.category,
            wanted.priority,
            wanted.max_retries,
            wanted.args,
            wanted.kwargs,
            wanted.created_at,
            wanted.run_at,
            wanted.unique_key,
            wanted.options,
        )
        entries.append((record, added(record)))
        if wanted.status is TaskStatus.PENDING:
            return entries
    before = record.status
    changed = Transition(
        record.id,
        Move.SAVE,
        before,
        wanted.status,
        wanted.attempt,
        naive_now(SystemClock()),
        wanted.worker,
        REASON,
        wanted.error,
        {column: getattr(wanted, column) for column in _STATE},
    )
    entries.append((record, changed))
    return entries
