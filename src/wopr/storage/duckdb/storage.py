"""DuckDBStorage: the storage port on one DuckDB file."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from wopr.domain.errors import QueryError, StorageError, StorageForkedError
from wopr.domain.fold import apply
from wopr.domain.logline import LogLine
from wopr.domain.status import Move
from wopr.domain.task import TaskRecord
from wopr.domain.transition import encode_added, encode_data
from wopr.ports.storage import (
    Done,
    Entry,
    QueryLimits,
    QueryRows,
)
from wopr.storage.duckdb import reads
from wopr.storage.duckdb.cleanup import Cleanup
from wopr.storage.duckdb.file.exit import close_at_exit
from wopr.storage.duckdb.file.opening import OpenedDatabase, is_fatal, open_database
from wopr.storage.duckdb.file.repair import explain
from wopr.storage.duckdb.logs import LogReads
from wopr.storage.duckdb.readcalls import ReadCalls
from wopr.storage.duckdb.reader import Reader, run_query
from wopr.storage.duckdb.replay import replay
from wopr.storage.duckdb.rules import RuleCalls
from wopr.storage.duckdb.schedules import ScheduleCalls
from wopr.storage.duckdb.seedcalls import SeedCalls, Waiter
from wopr.storage.duckdb.writer import Write, Writer

log = logging.getLogger(__name__)

T = TypeVar("T")

Connection = duckdb.DuckDBPyConnection


class DuckDBStorage(ReadCalls, ScheduleCalls, RuleCalls, LogReads, SeedCalls):
    """Tasks and their transitions in a DuckDB file that this process owns.

    Args:
        database: the file; it is created, mode 0600, when the storage is opened.
        memory_limit: DuckDB's own memory limit, e.g. ``"200MB"``.
    """

    def __init__(
        self, database: str | os.PathLike[str] = "wopr_tasks.duckdb", memory_limit: str = "200MB"
    ) -> None:
        self.path = Path(database)
        self.memory_limit = memory_limit
        self._opened: OpenedDatabase | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._seq = 0
        self._order = threading.Lock()  # numbers and the hand-over to the writer go together
        self._threads_wait = 0

    # -- life ---------------------------------------------------------------

    async def open(self) -> None:
        """Open the file: see :func:`wopr.storage.duckdb.file.opening.open_database`."""
        self._loop = asyncio.get_running_loop()
        if not self.is_open:
            await asyncio.to_thread(self.open_sync)

    def open_sync(self) -> None:
        """Open without an event loop, for tools; ``done`` is then called in the writer's thread."""
        opened = open_database(self.path, memory_limit=self.memory_limit)
        try:
            self._seq = replay(opened.connection)
        except duckdb.Error as error:
            opened.close(checkpoint=False)
            raise explain(opened.path, error) from error
        except BaseException:
            opened.close(checkpoint=False)
            raise
        self._opened = opened
        self._pid = os.getpid()
        self._reader = Reader(opened, "reader")
        self._people = Reader(opened, "sql")
        opened.before_reopen = self._let_readers_go
        self._writer = Writer(opened, self._deliver, self._seq, self._people.interrupt)
        self._writer.start()
        self._stay_open = close_at_exit(self)

    def _let_readers_go(self) -> None:
        self._reader.let_go()
        self._people.let_go()

    async def close(self) -> None:
        """Write what is left, fold, checkpoint, close the file. Idempotent."""
        try:
            closing = asyncio.get_running_loop().run_in_executor(None, self.close_sync)
        except RuntimeError:  # the interpreter is exiting: executors take no more work
            self.close_sync()
        else:
            await closing

    def close_sync(self) -> None:
        """Close without an event loop."""
        with self._order:  # from here on nothing more is handed over
            opened, self._opened = self._opened, None
        if opened is None or self._pid != os.getpid():
            return
        self._stay_open()
        self._writer.stop()
        self._reader.close()
        self._people.close()
        opened.close()

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._opened is not None

    # -- writes -------------------------------------------------------------

    def submit(self, entries: Sequence[Entry], done: Done, *, urgent: bool = True) -> None:
        """Apply the transitions and commit them; see the port."""
        with self._order:
            self._check()
            self._submit(entries, done, urgent=urgent)

    def _submit(self, entries: Sequence[Entry], done: Done, *, urgent: bool) -> None:
        """Give the transitions their numbers, apply them, and hand the rows over.

        Entries of one record stand together, so its row is made once, after the last.
        """
        seq = self._seq
        size = 0
        logs: list[tuple[Any, ...]] = []
        records: list[TaskRecord] = []
        before_rows: list[tuple[Any, ...]] = []
        last: TaskRecord | None = None
        for record, transition in entries:
            seq += 1
            transition.seq = seq
            if record is not last:
                records.append(record)
                before_rows.append(record.stored)
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
            logs.append(
                (
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
            )
        self._seq = seq
        rows = []
        for record in records:
            record.stored = row = record.row()
            rows.append(row)
        self._writer.submit(Write(logs, records, rows, before_rows, done, urgent, size))

    def _deliver(self, results: list[tuple[Write, BaseException | None]]) -> None:
        """Tell the callers of one commit, with one call into the loop."""
        if self._threads_wait:
            _finish([item for item in results if isinstance(item[0].done, Waiter)])
            results = [item for item in results if not isinstance(item[0].done, Waiter)]
        if self._loop is None:
            _finish(results)
            return
        try:
            self._loop.call_soon_threadsafe(_finish, results)
        except RuntimeError:  # the loop was closed and the queue was not: nobody is left to tell
            return

    def in_flight(self, record: TaskRecord) -> bool:
        """Whether the record shows a transition that is not on disk yet."""
        return record.version > self._writer.committed_seq

    async def flush(self) -> None:
        """Return when everything submitted so far was written or refused."""
        await self._in_writer(self._writer.folding.lines.write_all)

    @property
    def full(self) -> bool:
        """Whether the writer has as much to do as memory allows."""
        return self._opened is not None and self._writer.full

    async def room(self) -> None:
        """Wait until the writer can take more."""
        while self._writer.full:
            await self._in_writer(lambda: None)

    def hurry(self) -> None:
        """Commit what lingers now."""
        self._writer.hurry()

    def touch(self, record: TaskRecord) -> None:
        """Store the record's progress with the next fold."""
        record.stored = row = record.row()
        with self._order:
            self._writer.submit(Write([], [], [row], [row], _nothing, urgent=False))

    def save_logs(self, lines: Sequence[LogLine]) -> None:
        """Store lines that tasks logged when the writer has time; too many are dropped."""
        with self._order:
            if self._opened is None or self._pid != os.getpid():
                return  # work that was abandoned can log after the end
            pending = self._writer.folding.lines
            if pending.add(lines):
                self._writer.submit(Write([], [], [], [], _nothing, urgent=False))
        pending.report()  # not under the lock: whoever handles the message may use the queue

    # -- reads --------------------------------------------------------------

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return the task as it is on disk."""
        self._check()
        known = self._writer.folding.dirty.get(task_id)
        if known is not None:
            return TaskRecord.from_row(known[0])
        return await self._ask(self._reader, lambda cursor: reads.get(cursor, task_id))

    async def query(self, sql: str, params: Sequence[Any], limits: QueryLimits) -> QueryRows:
        """Run one read-only query that sees everything submitted before."""
        await self._in_writer(self._writer.folding.complete)
        return await self._ask(self._people, lambda cursor: run_query(cursor, sql, params, limits))

    async def cleanup(
        self,
        before: datetime,
        *,
        keep_history: bool,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Delete terminal tasks in batches, between which the writer serves others."""
        self._check()
        cleanup = Cleanup(
            self._writer.folding, self._opened_or_raise(), before, keep_history=keep_history
        )
        total = 0
        while True:
            deleted = await self._in_writer(cleanup.batch)
            if not deleted:
                return total
            total += deleted
            if progress is not None:
                progress(total)

    # -- for threads that wait --------------------------------------------------

    def write_now(self, entries: Sequence[Entry]) -> None:
        """Commit in the calling thread's time; opens the file if need be."""
        self._open_now()
        waiter = Waiter()
        self._threads_wait += 1
        try:
            self.submit(entries, waiter)
            waiter.wait()
        finally:
            self._threads_wait -= 1

    def read_now(self, read: Callable[[Connection], T]) -> T:
        """Read in the calling thread's time; opens the file if need be."""
        self._open_now()
        self._call(self._writer.folding.fold_all).result()
        return self._reader.submit(read).result()

    def cleanup_now(self, before: datetime) -> int:
        """Delete old tasks in the calling thread's time."""
        self._open_now()
        cleanup = Cleanup(self._writer.folding, self._opened_or_raise(), before, keep_history=False)
        total = 0
        while deleted := self._call(cleanup.batch).result():
            total += deleted
        return total

    def _open_now(self) -> None:
        if not self.is_open:
            self.open_sync()

    # -- inside -------------------------------------------------------------

    async def _read(self, read: Callable[[Connection], T]) -> T:
        await self._fold()
        return await self._ask(self._reader, read)

    async def _ask(self, reader: Reader, read: Callable[[Connection], T]) -> T:
        try:
            return await asyncio.wrap_future(reader.submit(read))
        except (QueryError, StorageError) as error:
            if is_fatal(error):  # the writer would not notice before its next commit
                self._writer.invalidated()
            raise

    async def _fold(self) -> None:
        """Bring ``tasks`` up to everything submitted so far."""
        await self._in_writer(self._writer.folding.fold_all)

    async def _in_writer(self, run: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._call(run))

    def _call(self, run: Callable[[], T]) -> Future[T]:
        with self._order:
            self._check()
            return self._writer.call(run)

    def in_writer(self, run: Callable[[Connection], T]) -> Future[T]:
        """Run something on the read-write connection, for tools such as ``doctor``."""
        opened = self._opened_or_raise()
        return self._call(lambda: run(opened.connection))

    def _opened_or_raise(self) -> OpenedDatabase:
        self._check()
        assert self._opened is not None
        return self._opened

    def _check(self) -> None:
        if self._opened is None:
            raise StorageError(
                f"The task database {self.path} is not open. Use the queue inside `async with "
                "TaskQueue(...)`, or call start_workers() to open it again."
            )
        if self._pid != os.getpid():
            raise StorageForkedError(
                f"This process (pid {os.getpid()}) was forked from pid {self._pid}, which has "
                f"{self.path} open; what it wrote here would be lost. Build a new TaskQueue "
                "in the child, or open the queue after the fork."
            )


def _nothing(error: BaseException | None) -> None:
    """Progress that could not be stored is stored with the next one."""


def _finish(results: list[tuple[Write, BaseException | None]]) -> None:
    for write, error in results:
        if error is not None:
            for record, row in zip(write.records, write.before, strict=False):  # progress has none
                if row:
                    record.load(row)
        try:
            write.done(error)
        except Exception:
            # The others of this commit have to hear of it all the same.
            log.exception("What follows a commit failed")
