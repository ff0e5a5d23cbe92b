"""The one thread that writes to DuckDB: it brings the tables up behind the journal.

Nobody waits for it but who asks a question. It works in bulk: when much has gathered, when
it is quiet, before a question, at the end. What is durable and not in the tables yet is
kept in memory, within bounds; beyond them, callers wait before they hand over more.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from wopr.config.crashpoint import crashpoint
from wopr.domain.errors import StorageError
from wopr.domain.proportion import in_proportion
from wopr.domain.spoken import counted
from wopr.domain.task import COLUMNS
from wopr.storage.duckdb import applied
from wopr.storage.duckdb.checkpoints import Checkpoints
from wopr.storage.duckdb.failures import is_fatal, lacks_memory
from wopr.storage.duckdb.file.memory import physical, to_try
from wopr.storage.duckdb.fold_rows import let_go
from wopr.storage.duckdb.journal.format import Group
from wopr.storage.duckdb.lines import Lines
from wopr.storage.duckdb.pending import Pending
from wopr.storage.duckdb.start import Started
from wopr.storage.duckdb.write import Write

log = logging.getLogger(__name__)

FOLD_ROWS = 12_000
FOLD_BYTES = 4 * 1024 * 1024
FOLD_SECONDS = 1.0
QUIET_SECONDS = 0.05
NAP_SECONDS = 0.05
"""Who sleeps no longer than that need not be woken up."""
AT_ONCE_ROWS = 40_000
AT_ONCE_BYTES = 8 * 1024 * 1024
MEMORY_TRIES = 5
MEMORY_SECONDS = 0.05
BACK_OFF_SECONDS = 1.0
GLANCE_ROWS = 200
GLANCE_SECONDS = 5.0
"""More changes than that are not waited for by who only glances, unless they come so late."""
NO_QUIET = -1.0
"""So long it has been quiet while one question follows the other: only size counts then."""


@dataclass(slots=True)
class Job:
    """Something that has to happen in the thread, on folded tables."""

    run: Callable[[], Any]
    after: int
    """So many writes were handed over before it."""
    future: Future[Any] = field(default_factory=Future)


class Folding:
    """Owns the read-write connection; see the module."""

    def __init__(
        self,
        started: Started,
        checkpoints: Checkpoints,
        make_room: Callable[[], None],
        memory_bytes: int,
    ) -> None:
        self.pending = Pending(started.segments.position, started.seq)
        self.lines = Lines(started.opened, memory_bytes)
        self._due_bytes = in_proportion(FOLD_BYTES, memory_bytes)
        self._at_once_bytes = in_proportion(AT_ONCE_BYTES, memory_bytes)
        self.busy = False
        """Whether it writes to the disk just now."""
        self._opened = started.opened
        self._reread = started.segments.read
        self._checkpoints = checkpoints
        checkpoints.acknowledged = lambda: self.pending.last
        self._make_room = make_room
        self._jobs: deque[Job] = deque()
        self._seen = 0  # writes that came out of the journal
        self._taken_at = 0.0
        self._wake: SimpleQueue[None] = SimpleQueue()  # its get() waits without the GIL's help
        self._asleep = False
        self._waits_long = self._drained = False
        self._stopping = False
        self._reopen = False
        self._unsure = False  # whether the tables may hold something else than was noted
        self._without_memory = 0
        self._not_before = 0.0
        self.complete = False
        """Whether, after the end, the tables hold everything."""
        self.trouble: str | None = None
        """Why the tables can't be brought up just now."""
        self._thread = threading.Thread(target=self._run, name="wopr-writer", daemon=True)

    # -- for other threads ----------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def take(self, writes: Sequence[Write], handed_over: int, group: Group | None) -> None:
        """Take what is durable now; see :class:`wopr.storage.duckdb.journal.journal.Behind`."""
        self._taken_at = time.monotonic()
        self.pending.add(writes, group)
        self._seen += handed_over
        pending = self.pending
        if self._asleep and (
            self._waits_long
            or self._jobs
            or pending.rows >= FOLD_ROWS
            or pending.bytes >= self._due_bytes
        ):
            self._notify()

    def lacking(self) -> Sequence[Group]:
        """Return what was taken and the tables don't have yet."""
        return self.pending.groups()

    def keeps_up(self) -> bool:
        """Whether the tables lack only what workers did a moment ago, and get it soon.

        To bring them up takes as long as a page may take, and costs least in bulk.
        """
        pending = self.pending
        soon = time.monotonic() - pending.since < GLANCE_SECONDS and self.trouble is None
        return soon and pending.rows > GLANCE_ROWS and pending.position >= pending.told

    def call(self, run: Callable[[], Any], after: int) -> Future[Any]:
        """Run something in the thread once the tables show the first ``after`` writes."""
        job = Job(run, after)
        if self._stopping:
            job.future.set_exception(StorageError("The storage is closed."))
            return job.future
        self._jobs.append(job)
        self._notify()
        return job.future

    def noticed(self) -> None:
        """Look for log lines, which came without a write."""
        if self._waits_long:
            self._notify()

    def invalidated(self) -> None:
        """Open the database again before anything else: a read found it unusable."""
        self._reopen = True
        self._notify()

    def stop(self) -> None:
        """Bring the tables up to all that is durable, and end the thread."""
        if self._thread.is_alive():
            self._stopping = True
            self._wake.put(None)
            self._thread.join()

    def _notify(self) -> None:
        if self._asleep:
            self._asleep = False
            self._wake.put(None)

    # -- the thread -----------------------------------------------------------

    def _run(self) -> None:
        while not (self._stopping and not self._jobs):
            if self._jobs and self._jobs[0].after <= self._seen:
                self._run_job(self._jobs.popleft())
                self._guarded(self._keep_up)
                continue
            timeout = self._guarded(self._use_quiet)
            if timeout != 0.0:
                self._sleep(timeout)
        self._guarded(self._finish)

    def _keep_up(self) -> None:
        """Do what can't wait for a quiet moment: in a row of jobs there is none."""
        self.lines.keep_up()
        if not self._backs_off:
            self._checkpoint(quiet=NO_QUIET)

    def _finish(self) -> None:
        if self._reopen:
            self._reconnect()
        self._fold_all()
        self.lines.write_all()
        let_go(self._opened.connection)
        self.complete = True

    def _sleep(self, timeout: float | None) -> None:
        self._waits_long = timeout is None or timeout > NAP_SECONDS
        self._asleep = True
        if not self._has_come():  # before it was asleep, so that nobody wakes it up
            with contextlib.suppress(Empty):
                self._wake.get(timeout=timeout)
        self._asleep = False

    def _has_come(self) -> bool:
        if self._stopping or (self._jobs and self._jobs[0].after <= self._seen):
            return True
        pending = self.pending
        if self._backs_off or not self._waits_long:
            return False
        lines = self._drained and self.lines
        return self._reopen or bool(pending.rows or pending.touched or lines)

    @property
    def _backs_off(self) -> bool:
        return time.monotonic() < self._not_before

    def _use_quiet(self) -> float | None:
        """Do what is due; return how long to sleep then, in seconds."""
        now = time.monotonic()
        if now < self._not_before:
            return self._not_before - now
        if self._reopen:
            self._reconnect()
        pending = self.pending
        quiet = now - self._taken_at
        if pending.rows or pending.touched:
            due = pending.rows >= FOLD_ROWS or pending.bytes >= self._due_bytes
            left = min(QUIET_SECONDS - quiet, FOLD_SECONDS - (now - pending.since))
            if due or left <= 0:
                self._fold_some()
                self.lines.keep_up()
                self._checkpoint(quiet=0.0)
                return 0.0
            return left
        self.lines.keep_up()
        self._drained = not self.lines
        if not self._drained:
            if quiet < QUIET_SECONDS:
                return QUIET_SECONDS - quiet
            self.lines.write_some()
            return 0.0
        return self._checkpoint(quiet)

    def _run_job(self, job: Job) -> None:
        if not job.future.set_running_or_notify_cancel():
            return  # the caller gave up; a future once running can't be cancelled any more
        try:
            self._fold_for_a_job()
            job.future.set_result(job.run())
        except Exception as error:  # noqa: BLE001 - the caller gets it
            if is_fatal(error):
                self._reopen = True
            job.future.set_exception(self._lagging(error))

    def _fold_for_a_job(self) -> None:
        """Bring the tables up; once more, if a query had made the database unusable."""
        try:
            if self._reopen:
                self._reconnect()
            self._fold_all()
        except Exception as error:
            if not is_fatal(error):
                raise
            self._reopen = True  # until it is: the disk may be out of reach just now
            self._reconnect()
            self._fold_all()

    def _lagging(self, error: Exception) -> StorageError:
        if isinstance(error, StorageError):
            return error
        help_out = "When the disk is full, free some space (wopr cleanup, wopr compact)."
        if lacks_memory(error):
            help_out = "It needs more memory: raise WOPR_TASKS_MEMORY_LIMIT."
        wrapped = StorageError(
            f"The tables of {self._opened.path} can't be brought up to date or read: {error}. "
            f"The journal is ahead by {counted(self.pending.rows, 'change')}; nothing acknowledged "
            f"is lost, and the queue goes on by itself. {help_out}"
        )
        wrapped.__cause__ = error
        return wrapped

    def _guarded(self, run: Callable[[], Any]) -> Any:
        """Do background work whose failure must not end the thread: it is tried again."""
        try:
            result = run()
        except Exception as error:  # noqa: BLE001
            log.error("Background work of the storage failed: %s", error)
            self.trouble = str(error)
            self._not_before = time.monotonic() + BACK_OFF_SECONDS
            if is_fatal(error):
                self._reopen = True
            return BACK_OFF_SECONDS
        return result

    # -- the tables -----------------------------------------------------------

    def _fold_all(self) -> None:
        """Bring the tables up to all that is durable now; more may come meanwhile."""
        last = self.pending.last
        while self.pending.position < last:
            self._fold_some()
        self._store_progress()

    def _fold_some(self) -> None:
        """Bring the tables up by one transaction."""
        if self._unsure:
            self._look_where_the_tables_are()
        pieces, done = self.pending.next(AT_ONCE_ROWS, self._at_once_bytes)
        if pieces:
            self._opened.verify_in_place()
            crashpoint("fold.before")
            if not self._apply(pieces):
                return
            crashpoint("fold.after")
            self._checkpoints.grew(sum(len(piece.content) for piece in pieces))
        self.pending.applied(done)
        if not self.pending.rows:
            self._store_progress()
        self.trouble = None

    def _apply(self, pieces: Sequence[applied.Piece]) -> bool:
        """Return whether the tables hold the pieces now; if not, to try again may help."""
        self._unsure = True
        try:
            applied.apply(self._opened.connection, pieces, self._syncing)
        except Exception as error:
            self._without_memory += 1
            if not lacks_memory(error) or is_fatal(error):
                raise
            if self._without_memory % MEMORY_TRIES == 0:
                if not self._take_more_memory():
                    raise
                self._reconnect("to have more memory")
                return False
            log.warning("A query left no memory for a commit, so it is stopped.")
            self._make_room()
            time.sleep(MEMORY_SECONDS)
            return False
        self._unsure, self._without_memory = False, 0
        self._opened.log.committed()
        return True

    def _take_more_memory(self) -> bool:
        """Let the next connection have twice as much; return whether the machine has that."""
        asked = self._opened.memory_limit
        more = to_try(asked, physical())[1:2]
        if more:
            self._opened.memory_limit = more[0]
            log.warning(
                "The tables of %s can't be brought up to date with %s (WOPR_TASKS_MEMORY_LIMIT): "
                "large results of neighbouring tasks do not fit in it together. DuckDB gets %s "
                "from now on. Let tasks return less, the name of a file say, or raise the limit.",
                self._opened.path,
                asked,
                more[0],
            )
        return bool(more)

    def _look_where_the_tables_are(self) -> None:
        """Go on from what the tables hold: after an error that may be more than before, or less."""
        applied.let_go_of_the_last(self._opened.connection)
        position, _ = applied.position(self._opened.connection)
        self.pending.restart(position, self._reread)
        self._unsure = False

    def _store_progress(self) -> None:
        rows = self.pending.take_touched()
        if rows:
            applied.progress(self._opened.connection, rows, COLUMNS)

    def _checkpoint(self, quiet: float) -> float | None:
        with self._syncing():
            return self._checkpoints.when_due(quiet, self.pending.position)

    @contextlib.contextmanager
    def _syncing(self) -> Iterator[None]:
        self.busy = True
        try:
            yield
        finally:
            self.busy = False

    def _reconnect(self, why: str = "after a fatal error") -> None:
        """Open the file again, as after an error that invalidated the database."""
        if self._opened.is_connected:
            let_go(self._opened.connection)
        self._opened.reopen()
        self._look_where_the_tables_are()
        self._reopen = False
        log.warning("The database was closed and opened again %s.", why)
