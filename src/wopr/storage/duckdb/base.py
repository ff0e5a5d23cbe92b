"""What every call of the storage stands on: the open file, its journal, its three threads."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import duckdb

from wopr.domain.errors import StorageError, StorageForkedError
from wopr.domain.proportion import in_proportion
from wopr.ports.glance import once
from wopr.ports.storage import JournalState, Snapshot
from wopr.storage.duckdb.again import Again
from wopr.storage.duckdb.asked import apart
from wopr.storage.duckdb.asked.people import People
from wopr.storage.duckdb.asked.sizes import Sizes
from wopr.storage.duckdb.asked.snapshot import Snapshots
from wopr.storage.duckdb.checkpoints import Checkpoints
from wopr.storage.duckdb.file.exit import close_at_exit
from wopr.storage.duckdb.file.memory import bytes_of
from wopr.storage.duckdb.file.opening import OpenedDatabase
from wopr.storage.duckdb.folding import Folding
from wopr.storage.duckdb.journal.inline import Inline
from wopr.storage.duckdb.journal.journal import Journal, Results
from wopr.storage.duckdb.parquet.layout import check_name
from wopr.storage.duckdb.portions import Portion
from wopr.storage.duckdb.reader import Reader
from wopr.storage.duckdb.start import Started, start
from wopr.storage.duckdb.turns import Turns
from wopr.storage.duckdb.write import Waiter, Write, finish

log = logging.getLogger(__name__)

T = TypeVar("T")
Connection = duckdb.DuckDBPyConnection

LAG_ROWS = 100_000
LAG_BYTES = 48 * 1024 * 1024
"""How far the tables may be behind the journal before callers wait."""
LARGE_BYTES = 16 * 1024
FOR_ADDS = 0.8
"""The part of that which new tasks may fill; the rest is for those that run, and end."""
SLOWER_FROM = 0.4
SLOWEST_SECONDS = 0.1
"""From such a part on adds are slowed down, up to so many seconds each: a checkpoint then finds
room for what comes meanwhile."""
LAG_SECONDS = 5.0
"""So long callers wait for tables that make no progress."""


class Base:
    """A file, opened and closed, and the ways to run something in its threads.

    Args:
        database: the file; it is created, mode 0600, when the storage is opened.
        memory_limit: DuckDB's own memory limit, e.g. ``"200MB"``.
        snapshot_limit: the largest database that is copied for a query in a process of its own.
        sync: whether each change is on disk before it is acknowledged: then it survives the
            death of the machine, else that of the process only.
        inline_sync: whether a lone change may be synced in the thread that makes it.
        archive: the directory of what was archived; ``None``: there is no archive.
    """

    def __init__(
        self,
        database: str | os.PathLike[str] = "wopr_tasks.duckdb",
        memory_limit: str = "200MB",
        *,
        snapshot_limit: str = "2GB",
        sync: bool = True,
        inline_sync: bool = True,
        archive: Path | None = None,
    ) -> None:
        self.path = Path(database)
        self.archive = None if archive is None else check_name(archive)
        self.memory_limit = memory_limit
        self._snapshot_limit = snapshot_limit
        self._sync = sync
        self._inline_sync = inline_sync
        self._started: Started | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turns = Turns(self._write_here)
        self._pid = 0
        self._seq = 0
        self._order = threading.Lock()  # numbers and the hand-over to the journal go together
        self._threads_wait = 0
        self._telling = threading.Lock()
        self._told_in = self._told_out = 0  # groups whose callers are to be told, and that were
        self._sizes = Sizes()
        self._shown = 0  # so many writes the tables show at least
        self._asking = self._asked_so_far = 0  # queries of people: under way here, and in all
        self._kept: Snapshot | None = None
        self._outside = threading.Lock()  # held while files of the archive are written
        self._portion = Portion()

    # -- life ---------------------------------------------------------------

    async def open(self) -> None:
        """Open the file: see :func:`wopr.storage.duckdb.start.start`."""
        self._loop = asyncio.get_running_loop()
        self._turns.begin(self._loop)
        self._told_in = self._told_out = 0  # those of a loop before are not told any more
        if not self.is_open:
            await asyncio.to_thread(self.open_sync)
        else:
            self._journal.hurry()

    def open_sync(self) -> None:
        """Open without an event loop, for tools; ``done`` is then called in another thread."""
        memory_bytes = bytes_of(self.memory_limit)
        self._most_behind = in_proportion(LAG_BYTES, memory_bytes)
        started = start(
            self.path, memory_limit=self.memory_limit, synced=self._sync, archive=self.archive
        )
        opened = started.opened
        self._seq = started.seq
        self._reader = Reader(opened, "reader")
        self._people = People(opened)
        opened.before_reopen = self._let_readers_go
        checkpoints = Checkpoints(started, memory_bytes)
        self._snapshots = Snapshots(opened, checkpoints, bytes_of(self._snapshot_limit))
        self._copying = asyncio.Lock()
        self._places_apart = asyncio.Semaphore(apart.MOST)
        self._folding = Folding(started, checkpoints, self._people.interrupt, memory_bytes)
        self._again = Again(self._people, self._folding, self._fold)
        self._journal = Journal(
            started.segments,
            started.check_in_place,
            self._folding,
            self._deliver,
            Inline(wanted=self._inline_sync, synced=self._sync),
        )
        self._started = started
        self._pid = os.getpid()
        self._folding.start()
        self._journal.start()
        self._stay_open = close_at_exit(self)

    def _let_readers_go(self) -> None:
        self._snapshots.stop()
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
            started, self._started = self._started, None
        if started is None or self._pid != os.getpid():
            return
        self._stay_open()
        with self._outside:
            pass  # what is half-way is finished, so that the next owner can clear it up
        self._journal.stop()
        self._folding.stop()
        self._snapshots.stop()
        self._reader.close()
        self._people.let_go()
        if self._folding.complete:
            started.close()
        else:
            log.error(
                "%s is behind its journal (changes: %d), because %s. The journal stays beside it, "
                "and the next opening goes on from there.",
                self.path,
                self._folding.pending.rows,
                self._folding.trouble,
            )
            started.abandon()

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._started is not None

    # -- to the journal -------------------------------------------------------

    def _hand_over(self, write: Write, *, now: bool = False) -> bool:
        """Give a write to the journal. To be called under the lock that numbers are given.

        Return whether the caller should let go of the lock and call :meth:`Turns.write_at_once`.
        """
        if not self._is_loop() or isinstance(write.done, Waiter):  # who waits in a thread
            self._journal.submit(write)
        elif self._turns.ending:
            self._journal.join(write)
        elif self._journal.submit(write, wake=False):
            return self._turns.take(urgent=write.urgent, now=now)
        return False

    def _is_loop(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def hurry(self) -> None:
        """Let nothing linger any more: somebody waits for it."""
        if self._turns.lingers:
            self._turns.hurry()
        else:
            self._journal.hurry()

    def _write_here(self) -> int:
        """Write what was handed over on the loop; return how many writes that were."""
        if self._told_in > self._told_out:  # the callers of earlier writes are to be told first
            results = self._journal.leave_to_the_thread()
        else:
            results = self._journal.write_here()
        finish(results)
        return len(results)

    async def _log(self, records: Sequence[bytes]) -> None:
        """Return once operations are durable; raise what went wrong."""
        if not records:
            return
        waiter = asyncio.get_running_loop().create_future()

        def done(error: BaseException | None) -> None:
            if waiter.cancelled():
                return
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

        write = Write(b"\n".join(records), len(records), done, operations=True)
        with self._order:
            self._check()
            self._hand_over(write)
        await waiter

    # -- in the thread that folds ---------------------------------------------

    async def flush(self) -> None:
        """Return when everything submitted so far is durable or refused."""
        passed = asyncio.get_running_loop().create_future()

        def done(error: BaseException | None) -> None:
            if not passed.cancelled():
                passed.set_result(None)

        with self._order:
            self._check()
            self._hand_over(Write(b"", 0, done))
        await passed
        if self._folding.lines:
            await self._in_writer(self._folding.lines.write_all)

    def in_writer(self, run: Callable[[Connection], T]) -> Future[T]:
        """Run something on the read-write connection, for tools such as ``doctor``."""
        opened = self._opened_or_raise()
        return self._call(lambda: run(opened.connection))

    async def _in_writer(self, run: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._call(run))

    def _call(self, run: Callable[[], T]) -> Future[T]:
        with self._order:
            self._check()
            return self._folding.call(run, self._journal.writes_in)

    async def _fold(self) -> None:
        """Bring ``tasks`` up to everything submitted so far."""
        await self._in_writer(lambda: None)

    async def _up_to_date(self) -> None:
        """Have ``tasks`` so, or in a glance nearly so."""
        await once(("folded", id(self)), self._fold, unless=self._folding.keeps_up)

    # -- how far behind ---------------------------------------------------------

    @property
    def journal(self) -> JournalState | None:
        """How far the tables are behind; see the port."""
        if self._started is None:
            return None
        pending, now = self._folding.pending, time.monotonic()
        rows = pending.rows
        age = now - pending.since if rows else 0.0
        inline = self._journal.inline.allowed(now)
        trouble = self._folding.trouble
        return JournalState(rows, pending.bytes, age, self._sync, inline, trouble)

    @property
    def full(self) -> bool:
        """Whether callers should wait before they hand over more; see the port."""
        return self._lag() > SLOWER_FROM

    @property
    def overfull(self) -> bool:
        """Whether nothing should be begun that has to be written again; see the port."""
        return self._lag() > 1.0

    def _lag(self) -> float:
        """How far the tables are behind, as a part of how far they may be."""
        if self._started is None:
            return 0.0
        journal, rows = self._journal, self._lag_rows()
        size = journal.bytes_in - journal.bytes_refused - self._folding.pending.bytes_out
        if size > rows * LARGE_BYTES:  # then memory has most of it twice: the record, and the row
            size *= 2
        return max(rows / LAG_ROWS, size / self._most_behind)

    def _lag_rows(self) -> int:
        journal = self._journal
        return journal.rows_in - journal.rows_refused - self._folding.pending.rows_out

    async def room(self) -> None:
        """Wait a moment, the longer the further the tables are behind, so that none waits long.

        Raises:
            StorageError: they are as far behind as may be, and make no progress.
        """
        lag = self._lag()
        if lag <= SLOWER_FROM:
            return
        if lag <= FOR_ADDS:
            await asyncio.sleep(SLOWEST_SECONDS * (lag - SLOWER_FROM) / (FOR_ADDS - SLOWER_FROM))
            return
        until = time.monotonic() + LAG_SECONDS
        before = self._folding.pending.rows_out
        while self._lag() > FOR_ADDS:
            await asyncio.sleep(0.01)
            out = self._folding.pending.rows_out
            now = time.monotonic()
            if out != before:
                before, until = out, now + LAG_SECONDS
            elif now > until:
                raise StorageError(
                    f"The tables of {self.path} are {self._lag_rows()} changes behind the journal "
                    f"and have made no progress for {LAG_SECONDS:g} s, so nothing more is "
                    f"accepted: {self._folding.trouble or 'DuckDB is busy'}. What runs goes on. "
                    f"When the disk is full, free some space (wopr cleanup, wopr compact)."
                )

    # -- in a reader's ------------------------------------------------------

    async def _read(self, read: Callable[[Connection], T]) -> T:
        await self._up_to_date()
        return await self._ask(self._reader, read)

    async def _ask(self, reader: Reader, read: Callable[[Connection], T]) -> T:
        return await self._again.read(reader, read)

    # -- back to the callers ------------------------------------------------

    def _deliver(self, results: Results) -> None:
        """Tell the callers of one group, with one call into the loop."""
        if self._threads_wait:
            finish([item for item in results if isinstance(item[0].done, Waiter)])
            results = [item for item in results if not isinstance(item[0].done, Waiter)]
        if self._loop is None:
            finish(results)
            return
        with self._telling:
            self._told_in += 1
        try:
            self._loop.call_soon_threadsafe(self._tell, results)
        except RuntimeError:  # the loop was closed and the queue was not: nobody is left to tell
            return

    def _tell(self, results: Results) -> None:
        """Tell the callers, on their loop."""
        self._told_out += 1
        finish(results)

    def _opened_or_raise(self) -> OpenedDatabase:
        self._check()
        assert self._started is not None
        return self._started.opened

    def _check(self) -> None:
        if self._started is None:
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
