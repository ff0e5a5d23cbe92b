"""The one thread that writes: group commit to the log, and the fold behind it.

Every commit is one appender flush into ``transitions``: about 0.7 ms, however
many callers share it. ``tasks`` follows in bulk, when many rows have gathered,
when nothing else is to do, before a read and at the end. What is committed but
not folded yet is kept in ``dirty``, so memory stays bounded by folding first.

State of the thread: asleep -> (woken) -> linger, unless something is urgent ->
commit everything that has gathered -> deliver -> fold if due -> asleep.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from wopr.config.crashpoint import crashpoint
from wopr.domain.errors import StorageError
from wopr.storage.duckdb.brisk import brisk
from wopr.storage.duckdb.failures import lacks_memory, may_be_the_rows
from wopr.storage.duckdb.file.opening import OpenedDatabase, is_fatal
from wopr.storage.duckdb.folding import Folding
from wopr.storage.duckdb.portions import PORTION_BYTES
from wopr.storage.duckdb.write import Write

log = logging.getLogger(__name__)

Deliver = Callable[[list[tuple[Write, BaseException | None]]], None]

LINGER_SECONDS = 0.003
MAX_COMMIT_ROWS = 5_000
MEMORY_TRIES = 20
MEMORY_SECONDS = 0.05
MAX_PENDING_ROWS = 20_000
MAX_PENDING_BYTES = 64 * 1024 * 1024


class Sleep(enum.Enum):
    """What the thread waits for; only then does a caller have to wake it."""

    AWAKE = 0
    LINGERING = 1  # for more to share a commit with: only urgent work wakes it
    IDLE = 2


AWAKE, LINGERING, IDLE = Sleep


@dataclass(slots=True)
class Job:
    """Something else that has to happen in the writer's thread."""

    run: Callable[[], Any]
    after: int  # so many writes were handed over before it
    future: Future[Any] = field(default_factory=Future)


class Writer:
    """Own the read-write connection; commit what callers hand over, in order."""

    def __init__(
        self,
        opened: OpenedDatabase,
        deliver: Deliver,
        last_seq: int,
        make_room: Callable[[], None],
    ) -> None:
        self._opened = opened
        self._make_room = make_room
        self._deliver = deliver
        self._queue: deque[Write] = deque()
        self._jobs: deque[Job] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()  # its get() waits without the GIL's help
        self._asleep = AWAKE
        self._urgent = False
        self._stopping = False
        self._reopen = False
        self._purge = False
        # Each is counted by one side only: "+=" of two threads on one number loses some.
        self._writes_in = self._rows_in = self._bytes_in = 0
        self._writes_out = self._rows_out = self._bytes_out = 0
        self.committed_seq = last_seq
        self.folding = Folding(opened, last_seq)
        self._log: Any = opened.connection.appender("transitions")
        self._thread = threading.Thread(target=self._run, name="wopr-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, write: Write) -> None:
        """Hand over a write; its ``done`` is delivered after the commit.

        Never by two threads at once.
        """
        self._rows_in += len(write.logs)
        self._bytes_in += write.size
        self._queue.append(write)
        self._writes_in += 1
        if write.urgent:
            self._urgent = True
            self._notify()
        elif self._asleep is IDLE or self.pending_rows > MAX_COMMIT_ROWS:
            self._notify()

    def call(self, run: Callable[[], Any]) -> Future[Any]:
        """Run something in the writer's thread after all writes handed over so far."""
        job = Job(run, self._writes_in)
        if self._stopping:
            job.future.set_exception(StorageError("The storage is closed."))
            return job.future
        self._jobs.append(job)
        self._urgent = True
        self._notify()
        return job.future

    def invalidated(self) -> None:
        """Open the database again before anything else: a read found it unusable."""
        self._reopen = True
        self._urgent = True
        self._notify()

    def stop(self) -> None:
        """Write what is left, fold, checkpoint and end the thread."""
        if self._thread.is_alive():
            self._stopping = True
            self._wake.put(None)
            self._thread.join()

    @property
    def pending_rows(self) -> int:
        """How many log rows were handed over and not committed yet."""
        return self._rows_in - self._rows_out

    @property
    def full(self) -> bool:
        """Whether callers should wait before they hand over more."""
        return (
            self.pending_rows > MAX_PENDING_ROWS
            or self._bytes_in - self._bytes_out > MAX_PENDING_BYTES
        )

    def _notify(self) -> None:
        if self._asleep is not AWAKE:
            self._asleep = AWAKE
            self._wake.put(None)

    # -- the thread ---------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._sleep()
            with brisk():
                while self._queue or self._jobs:
                    # A job waits for what was handed over before it, and for no more than that.
                    if self._jobs and self._jobs[0].after <= self._writes_out:
                        self._run_job(self._jobs.popleft())
                    else:
                        self._commit_next()
            if self._stopping and not self._queue and not self._jobs:
                break
        self._guarded(self._settle_down)
        self._log = None
        self.folding.let_go()

    def _sleep(self) -> None:
        """Wait for work; use the time to fold and to checkpoint."""
        idle_since = time.monotonic()
        while not (self._queue or self._jobs or self._stopping):
            timeout = self._guarded(lambda: self._use_quiet(time.monotonic() - idle_since))
            self._asleep = IDLE
            if not (self._queue or self._jobs or self._stopping):
                self._wait(timeout)
            self._asleep = AWAKE
        deadline = time.monotonic() + LINGER_SECONDS
        while not (self._urgent or self._stopping or self.pending_rows > MAX_COMMIT_ROWS):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            self._asleep = LINGERING
            if not (self._urgent or self._stopping):
                self._wait(left)
            self._asleep = AWAKE
        self._urgent = False

    def _use_quiet(self, idle: float) -> float | None:
        if self._reopen and not self.folding.backing_off:
            self._reconnect()
        return self.folding.when_idle(idle)

    def _wait(self, timeout: float | None) -> None:
        with contextlib.suppress(Empty):
            self._wake.get(timeout=timeout)

    def _commit_next(self) -> None:
        batch: list[Write] = []
        rows = size = 0
        while self._queue and rows < MAX_COMMIT_ROWS and size < PORTION_BYTES:
            write = self._queue.popleft()
            batch.append(write)
            rows += len(write.logs)
            size += write.size
        results = self._commit(batch)
        crashpoint("writer.before_deliver")
        self._writes_out += len(batch)
        self._rows_out += rows
        self._bytes_out += size
        self._deliver(results)
        self._guarded(self.folding.keep_up)

    def _commit(self, batch: list[Write]) -> list[tuple[Write, BaseException | None]]:
        """Commit the batch; when that fails, find out which of its writes are good."""
        for left in reversed(range(MEMORY_TRIES)):
            try:
                self._append(batch)
                break
            except Exception as error:  # noqa: BLE001 - every failure of a commit has to reach its callers
                if not left or not lacks_memory(error) or not self._stop_the_query(batch):
                    return self._after_failure(batch, error)
        return self._committed(batch)

    def _stop_the_query(self, batch: list[Write]) -> bool:
        """Take the memory back that somebody's query has; return whether to try again."""
        log.warning("A query left no memory for a commit, so it is stopped.")
        try:
            self._log.clear()
            self._make_room()
            time.sleep(MEMORY_SECONDS)
            return not self._landed(batch)
        except Exception as again:  # noqa: BLE001 - then it is treated as any other failure
            log.error("The database can't be read either: %s", again)
            return False

    def _committed(self, batch: list[Write]) -> list[tuple[Write, BaseException | None]]:
        for write in reversed(batch):
            if write.logs:
                self.committed_seq = write.logs[-1][0]
                break
        self.folding.add(batch, self.committed_seq)
        return [(write, None) for write in batch]

    def _append(self, batch: list[Write]) -> None:
        if self._reopen:
            self._reconnect()
        if self._purge:
            self._remove_refused()
        self._opened.verify_in_place()
        crashpoint("writer.before_commit")
        rows = batch[0].logs if len(batch) == 1 else [row for w in batch for row in w.logs]
        if rows:
            self._log.append_rows(rows)
            self._log.flush()
        crashpoint("writer.after_commit")

    def _after_failure(
        self, batch: list[Write], error: Exception
    ) -> list[tuple[Write, BaseException | None]]:
        """Treat the commit as unknown: re-read what landed, and retry the rest in halves."""
        log.error("A commit of %d writes failed: %s", len(batch), error)
        if self._log is not None:
            self._guarded(self._log.clear)
        if is_fatal(error):
            self._reopen = True
        try:
            if self._reopen:
                self._reconnect()
            landed = self._landed(batch)
        except Exception as again:  # noqa: BLE001 - the database is out of reach: nobody may be told "done"
            self._purge = True
            return [(write, _storage_error(again)) for write in batch]
        if landed:
            return self._committed(batch)
        if len(batch) == 1 or not may_be_the_rows(error):
            return [(write, _storage_error(error)) for write in batch]
        half = len(batch) // 2
        return self._commit(batch[:half]) + self._commit(batch[half:])

    def _landed(self, batch: list[Write]) -> bool:
        """Whether the commit reached the file although it reported an error."""
        seqs = [row[0] for write in batch for row in write.logs]
        if not seqs:
            return True
        rows = self._opened.connection.execute(
            "select count(*) from transitions where seq between ? and ?", [seqs[0], seqs[-1]]
        ).fetchall()
        return bool(rows[0][0])

    def _remove_refused(self) -> None:
        """Make errors true that were reported while the database was out of reach."""
        self._opened.connection.execute(
            "delete from transitions where seq > ?", [self.committed_seq]
        ).fetchall()
        self._purge = False

    def _reconnect(self) -> None:
        """Open the file again after an error that invalidated the database."""
        self._log = None  # an appender keeps the broken database alive
        self.folding.let_go()
        self._opened.reopen()
        self._log = self._opened.connection.appender("transitions")
        self.folding.reconnected()
        self._reopen = False
        log.warning("The database was closed and opened again after a fatal error.")

    def _run_job(self, job: Job) -> None:
        if not job.future.set_running_or_notify_cancel():
            return  # the caller gave up; a future once running can't be cancelled any more
        try:
            if self._reopen:
                self._reconnect()
            job.future.set_result(job.run())
        except Exception as error:  # noqa: BLE001 - the caller gets it
            if is_fatal(error):
                self._reopen = True
            job.future.set_exception(_storage_error(error))

    def _settle_down(self) -> float:
        self.folding.complete()
        self.folding.save_watermark()
        return 0.0

    def _guarded(self, run: Callable[[], Any]) -> Any:
        """Do background work whose failure must not end the thread.

        A fold that fails loses nothing: the log has it all. It is tried again, at
        most once a second.
        """
        try:
            return run()
        except Exception as error:  # noqa: BLE001
            log.error("Background work of the storage failed: %s", error)
            self.folding.back_off()
            if is_fatal(error):
                self._reopen = True
                try:
                    self._reconnect()
                except Exception as again:  # noqa: BLE001
                    log.error("The database can't be opened again yet: %s", again)
            return 1.0


def _storage_error(error: BaseException) -> StorageError:
    if isinstance(error, StorageError):
        return error
    wrapped = StorageError(
        f"The database refused the write: {error}. Nothing was acknowledged; what was "
        "acknowledged before is safe. When the disk is full, free some space (wopr cleanup, "
        "wopr compact): the queue goes on by itself."
    )
    wrapped.__cause__ = error
    return wrapped
