"""What every call of the storage stands on: the open file, its writer and its readers."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import duckdb

from wopr.domain.errors import QueryError, StorageError, StorageForkedError
from wopr.storage.duckdb.file.exit import close_at_exit
from wopr.storage.duckdb.file.opening import OpenedDatabase, is_fatal, open_database
from wopr.storage.duckdb.file.repair import explain
from wopr.storage.duckdb.reader import Reader
from wopr.storage.duckdb.replay import replay
from wopr.storage.duckdb.write import Waiter, Write
from wopr.storage.duckdb.writer import Writer

log = logging.getLogger(__name__)

T = TypeVar("T")

Connection = duckdb.DuckDBPyConnection


class Base:
    """A file, opened and closed, and the ways to run something in its three threads."""

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

    # -- in the writer's thread ---------------------------------------------

    async def flush(self) -> None:
        """Return when everything submitted so far was written or refused."""
        await self._in_writer(self._writer.folding.lines.write_all)

    def in_writer(self, run: Callable[[Connection], T]) -> Future[T]:
        """Run something on the read-write connection, for tools such as ``doctor``."""
        opened = self._opened_or_raise()
        return self._call(lambda: run(opened.connection))

    async def _in_writer(self, run: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._call(run))

    def _call(self, run: Callable[[], T]) -> Future[T]:
        with self._order:
            self._check()
            return self._writer.call(run)

    async def _fold(self) -> None:
        """Bring ``tasks`` up to everything submitted so far."""
        await self._in_writer(self._writer.folding.fold_all)

    # -- in a reader's ------------------------------------------------------

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

    # -- back to the callers ------------------------------------------------

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
