"""What makes changes durable: groups of records, appended to the journal and synced.

One thread takes all that was handed over by the time it is ready, writes it as one group,
tells the callers and hands the group on to what brings the database up. A lone write may be
written by the thread that hands it over, when nothing else is under way: that saves the
way there and back, which takes longer than the sync.

State of the thread: asleep -> (woken) -> linger, unless something is urgent ->
write everything that has gathered -> tell -> asleep.
"""

from __future__ import annotations

import contextlib
import contextvars
import enum
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

from wopr.config.crashpoint import crashpoint
from wopr.domain.errors import StorageError
from wopr.storage.duckdb.brisk import brisk
from wopr.storage.duckdb.journal.format import Group
from wopr.storage.duckdb.journal.inline import Inline
from wopr.storage.duckdb.journal.segments import Segments
from wopr.storage.duckdb.write import Write

log = logging.getLogger(__name__)

Results = list[tuple[Write, BaseException | None]]

LINGER_SECONDS = 0.003
MAX_GROUP_RECORDS = 5_000
MAX_GROUP_BYTES = 4 * 1024 * 1024
INLINE_BYTES = 64 * 1024
WATCH_SECONDS = 1.0
"""So often all segments are looked for, and not only the one that was just written to."""


class Sleep(enum.Enum):
    """What the thread waits for; only then does a caller have to wake it."""

    AWAKE = 0
    LINGERING = 1  # for more to share a sync with: only urgent work wakes it
    IDLE = 2


AWAKE, LINGERING, IDLE = Sleep


class Behind(Protocol):
    """What brings the database up to the journal."""

    busy: bool
    """Whether it writes to the disk just now."""

    def take(self, writes: Sequence[Write], handed_over: int, group: Group | None) -> None:
        """Take what is durable now: ``group``, and the writes that it is made of; in order.

        ``handed_over`` counts the writes that failed too.
        """
        ...

    def lacking(self) -> Sequence[Group]:
        """Return what was taken and the database does not have yet."""
        ...


class Journal:
    """Owns the segments; makes durable what callers hand over, in order."""

    def __init__(
        self,
        segments: Segments,
        check: Callable[[], None],
        behind: Behind,
        deliver: Callable[[Results], None],
        inline: Inline,
    ) -> None:
        self._segments = segments
        segments.lacking = behind.lacking
        self._check = check
        self._behind = behind
        self._deliver = deliver
        self.inline = inline
        self._queue: deque[Write] = deque()
        self._writing = threading.Lock()  # held by who writes to the segments
        self._wake: SimpleQueue[None] = SimpleQueue()  # its get() waits without the GIL's help
        self._asleep = AWAKE
        self._urgent = False
        self._stopping = False
        self._watched = time.monotonic()
        # Each is counted by one side only: "+=" of two threads on one number loses some.
        self.writes_in = self.rows_in = self.bytes_in = 0
        self._rows_out = self.rows_refused = self.bytes_refused = 0
        self._thread = threading.Thread(target=self._run, name="wopr-journal", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, write: Write, *, wake: bool = True) -> bool:
        """Hand over a write; its ``done`` is delivered once it is on disk.

        Never by two threads at once. Without ``wake`` return whether the caller may write it
        by itself, with :meth:`write_here`, at the end of this turn of its loop or soon.
        """
        self.join(write)
        if not wake and self._asleep is IDLE and self.inline.allowed(time.monotonic()):
            return True
        if write.urgent:
            self._urgent = True
            self._notify()
        elif self._asleep is IDLE or self.pending_rows > MAX_GROUP_RECORDS:
            self._notify()
        return False

    def join(self, write: Write) -> None:
        """Hand over a write that :meth:`write_here` will find. Never by two threads at once."""
        self.rows_in += write.count
        if write.count:
            self.bytes_in += len(write.content) + 1
        self._queue.append(write)
        self.writes_in += 1

    def write_here(self) -> Results:
        """Write what was handed over in this turn, or leave it to the thread; return outcomes."""
        if self._behind.busy or not self._writing.acquire(blocking=False):
            return self.leave_to_the_thread()
        try:
            writes = list(self._queue)  # others may hand over more while we look at these
            if not self._small(writes):
                return self.leave_to_the_thread()
            for _ in writes:
                self._queue.popleft()
            began = time.monotonic()
            results = self._write(writes) if writes else []
            now = time.monotonic()
        finally:
            self._writing.release()
        if self.inline.took(now - began, now):
            text = "A sync of the journal took %.0f ms, so for a while they are left to a thread."
            milliseconds = 1000 * (now - began)
            # It is of the journal, and not of the task in which the call happens to be.
            contextvars.Context().run(log.info, text, milliseconds)
        return results

    def leave_to_the_thread(self) -> Results:
        """Let the thread write what was handed over; so there are no outcomes yet."""
        self._urgent = True
        self._notify()
        return []

    def _small(self, writes: Sequence[Write]) -> bool:
        """Whether it is little enough to be written by a thread that others need."""
        size = 0
        for write in writes:
            size += len(write.content) + 1
        return size <= INLINE_BYTES and self._segments.fits(size)

    def hurry(self) -> None:
        """Let nothing wait for company any more."""
        if self._queue:
            self._urgent = True
            self._notify()

    def _notify(self) -> None:
        """Wake the thread."""
        if self._asleep is not AWAKE:
            self._asleep = AWAKE
            self._wake.put(None)

    def stop(self) -> None:
        """Write what is left and end the thread."""
        if self._thread.is_alive():
            self._stopping = True
            self._wake.put(None)
            self._thread.join()

    @property
    def pending_rows(self) -> int:
        """How many records were handed over and are not on disk yet."""
        return self.rows_in - self._rows_out

    # -- the thread ---------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._sleep()
            with self._writing, brisk():
                while self._queue:
                    self._deliver(self._write(self._next()))
            if self._stopping and not self._queue:
                break

    def _sleep(self) -> None:
        """Wait for work, and a little longer for what may share a sync with it."""
        self._watch()
        while not (self._queue or self._stopping):
            self._asleep = IDLE
            if not (self._queue or self._stopping):
                self._wait(WATCH_SECONDS)
            self._asleep = AWAKE
            self._watch()
        deadline = time.monotonic() + LINGER_SECONDS
        while not (self._urgent or self._stopping or self.pending_rows > MAX_GROUP_RECORDS):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            self._asleep = LINGERING
            if not (self._urgent or self._stopping):
                self._wait(left)
            self._asleep = AWAKE
        self._urgent = False

    def _watch(self) -> None:
        """Look for all segments now and then; write anew what somebody took away."""
        now = time.monotonic()
        if now - self._watched < WATCH_SECONDS:
            return
        self._watched = now
        try:
            if not self._segments.all_in_place():
                with self._writing:
                    self._segments.rescue()
        except Exception as error:  # noqa: BLE001 - the thread has to go on
            log.error("The journal can't be written anew, which is tried again: %s", error)

    def _wait(self, timeout: float) -> None:
        with contextlib.suppress(Empty):
            self._wake.get(timeout=timeout)

    def _next(self) -> list[Write]:
        writes: list[Write] = []
        rows = size = 0
        while self._queue and rows < MAX_GROUP_RECORDS and size < MAX_GROUP_BYTES:
            write = self._queue.popleft()
            writes.append(write)
            rows += write.count
            size += len(write.content)
        return writes

    # -- one group ------------------------------------------------------------

    def _write(self, writes: list[Write]) -> Results:
        """Make writes durable as one group; return what came of each."""
        position = self._segments.position
        group = _grouped(writes, position + 1)
        try:
            if group is not None:
                self._append(group)
        except Exception as error:  # noqa: BLE001 - every failure has to reach its callers
            log.error("A group of %d writes could not be made durable: %s", len(writes), error)
            wrapped = storage_error(error)
            if group is not None:
                self.rows_refused += group.count
                self.bytes_refused += len(group.content) + 1
                self._rows_out += group.count
            self._behind.take([], len(writes), None)
            return [(write, wrapped) for write in writes]
        except BaseException:  # Ctrl-C in the loop's thread: nobody knows how far it came
            self._segments.withdraw(Group(position + 1, 0, b""))
            self._queue.extendleft(reversed(writes))
            self.leave_to_the_thread()
            raise
        if group is not None:
            self._rows_out += group.count
        self._behind.take(writes, len(writes), group)
        crashpoint("journal.before_deliver")
        return [(write, None) for write in writes]

    def _append(self, group: Group) -> None:
        for again in (True, False):
            crashpoint("journal.before_write")
            try:
                self._segments.append(group)
                crashpoint("journal.after_write")
                if self._segments.trouble() is None:
                    break
            except OSError as error:
                if not again:
                    raise
                log.error("Writing to the journal failed, trying once more: %s", error)
            else:
                self._segments.withdraw(group)
        else:
            raise StorageError(
                "The journal's segments are deleted or replaced as soon as they are written. "
                "Stop what does that."
            )
        try:
            self._check()
        except BaseException:
            self._segments.withdraw(group)
            raise


def _grouped(writes: Sequence[Write], first: int) -> Group | None:
    """Return the records of writes as a group whose first one has a position."""
    contents: list[bytes] = []
    count, operations = 0, False
    for write in writes:
        if write.count:  # else it is a barrier, or a task's progress
            contents.append(write.content)
            count += write.count
            operations = operations or write.operations
    return Group(first, count, b"\n".join(contents), operations) if count else None


def storage_error(error: BaseException) -> StorageError:
    """Return what callers are told about a write that failed."""
    if isinstance(error, StorageError):
        return error
    wrapped = StorageError(
        f"The disk refused the write: {error}. Nothing was acknowledged; what was "
        "acknowledged before is safe. When the disk is full, free some space (wopr cleanup, "
        "wopr compact): the queue goes on by itself."
    )
    wrapped.__cause__ = error
    return wrapped
