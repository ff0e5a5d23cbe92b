"""What the parts of one engine share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Container, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

from wopr.calls.registry import Registry
from wopr.domain.clock import Clock, naive_now
from wopr.domain.controls import Pause, Revocation
from wopr.domain.errors import WoprError
from wopr.domain.guarded import guarded, type_name
from wopr.domain.steady import Steady
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.engine.foreground import Foreground
from wopr.engine.memory import Memory
from wopr.engine.refusals import Refusals
from wopr.ports.storage import Done, Entry, Storage
from wopr.running.surroundings import Surroundings

log = logging.getLogger(__name__)

T = TypeVar("T")


class Follows(Protocol):
    """What is written together with the end of a task, because it waited for that."""

    entries: list[Entry]

    def done(self, error: BaseException | None) -> None:
        """Go on once the commit is known."""
        ...


_NEVER = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, as the records hold times
Observer = Callable[[TaskRecord, Transition], None]
"""Told of a transition that is on disk; in order, on the event loop."""


class Observed:
    """The ``done`` of a write that observers are told of."""

    __slots__ = ("done", "entries", "shared")

    def __init__(self, shared: Shared, entries: Sequence[Entry], done: Done) -> None:
        self.shared = shared
        self.entries = entries
        self.done = done

    def __call__(self, error: BaseException | None) -> None:
        """Go on, then tell the observers what is on disk now."""
        try:
            self.done(error)
        finally:
            if error is None:
                self.shared.tell(self.entries)


class Written:
    """The ``done`` of a write that somebody awaits. One object, because there are many."""

    __slots__ = ("after", "error", "future", "over")

    def __init__(self, after: Callable[[BaseException | None], None]) -> None:
        self.after = after
        self.future: asyncio.Future[None] | None = None
        """Who waits, if it was not over at once."""
        self.over = False
        self.error: BaseException | None = None

    def __call__(self, error: BaseException | None) -> None:
        """Go on, and tell who waits."""
        self.over, self.error = True, error
        try:
            self.after(error)
        finally:
            if self.future is not None and not self.future.cancelled():
                if error is None:
                    self.future.set_result(None)
                else:
                    self.future.set_exception(error)


@dataclass(slots=True)
class Shared:
    """One engine's storage, clock and shared state; used on its event loop only."""

    storage: Storage
    surroundings: Surroundings
    """What runs need of all this."""
    foreground: Foreground
    ended: Callable[[TaskRecord], None]
    registry: Registry = field(init=False)
    clock: Clock = field(init=False)
    steady: Steady = field(init=False)
    loop: asyncio.AbstractEventLoop = field(init=False)
    parents: Container[str] = ()
    """Tasks that others wait for."""
    follow: Callable[[TaskRecord], Follows | None] = lambda record: None
    release: Callable[[list[TaskRecord]], None] = lambda records: None
    look_at_clock: Callable[[], None] = lambda: None
    """Notices whether the wall clock was set."""
    set_aside: Callable[[TaskRecord], None] = lambda record: None
    """Takes a task that waits because it does not fit its function."""
    refusals: Refusals = field(init=False)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a shutdown is to give no more grace time."""
    paused: dict[str, Pause] = field(default_factory=dict)
    """By the name of the task."""
    revoked: dict[str, list[Revocation]] = field(default_factory=dict)
    """By the name of the task."""
    refuse: Callable[[TaskRecord, datetime], bool] = lambda record, now: False
    """Cancels a task that is about to start, if it is revoked or expired; whether it is."""
    memory: Memory = field(default_factory=Memory)
    live: dict[str, TaskRecord] = field(default_factory=dict)
    waiters: dict[str, list[asyncio.Future[TaskRecord]]] = field(default_factory=dict)
    seen_at: datetime = _NEVER
    """When the event loop was last seen alive."""
    loop_lag: float = 0.0
    """How many seconds late it was then."""
    observers: list[Observer] = field(default_factory=list)
    _reads: list[set[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        around = self.surroundings
        self.registry, self.clock, self.loop = around.registry, around.clock, around.loop
        self.steady = around.steady
        self.refusals = Refusals(around.registry, around.loop)

    def submit(
        self, entries: Sequence[Entry], done: Done, *, urgent: bool = True, now: bool = False
    ) -> None:
        """Hand transitions to the storage; see :meth:`wopr.ports.storage.Storage.submit`."""
        if self.observers:
            done = Observed(self, entries, done)
        self.storage.submit(entries, done, urgent=urgent, now=now)

    def wall(self) -> datetime:
        """Return what the wall clock shows, naive UTC; it is known by then if it was set.

        To be compared with times of before. Else what begins to wait now would be taken for what
        was there when the clock was set.
        """
        self.look_at_clock()
        return naive_now(self.clock)

    def tell(self, entries: Sequence[Entry]) -> None:
        """Tell the observers; none can do harm to the work."""
        observers = tuple(self.observers)  # one may take itself away
        for record, transition in entries:
            for observer in observers:
                try:
                    observer(record, transition)
                except BaseException as error:  # noqa: BLE001 - whatever it is
                    _complain(record, error)

    @contextlib.contextmanager
    def reading(self) -> Iterator[set[str]]:
        """Give the set of tasks that leave memory while the storage is read.

        What was read of those may be stale: they have changed since.
        """
        changed: set[str] = set()
        self._reads.append(changed)
        try:
            yield changed
        finally:
            self._reads = [one for one in self._reads if one is not changed]

    def left_memory(self, task_id: str) -> None:
        """Note a task whose newest state only the storage has from now on."""
        for changed in self._reads:
            changed.add(task_id)

    async def write(
        self, entries: Sequence[Entry], after: Callable[[BaseException | None], None]
    ) -> None:
        """Return when the entries are on disk and ``after`` has run; raise what went wrong.

        ``after`` runs even if the caller is cancelled meanwhile: then the write
        goes on, and its outcome is unknown to the caller.
        """
        written = Written(after)
        self.submit(entries, written, now=True)
        if not written.over:
            written.future = self.loop.create_future()
            await written.future
        elif written.error is not None:
            raise written.error

    def send_away(self, error: Exception) -> None:
        """End the waiting of all who wait for a task: the queue is closed."""
        for futures in self.waiters.values():
            for future in futures:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # seen, should nobody await it any more
        self.waiters.clear()


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Return what work comes to. It goes on if the caller gives up; an error is logged then."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_unheard)
        raise


def _unheard(task: asyncio.Task[Any]) -> None:
    """Log an error of which nobody is left to be told."""
    error = None if task.cancelled() else task.exception()
    if error is None:
        return
    what = getattr(task.get_coro(), "__qualname__", task.get_name())
    expected = isinstance(error, WoprError)
    log.error(
        "%s failed after its caller had given up: %s: %s",
        what,
        type_name(error),
        error if expected else "",
        exc_info=None if expected else error,
    )


def _complain(record: TaskRecord, error: BaseException) -> None:
    """Log what an observer raised; logging asks it for its text, and may get another one."""
    text = "An observer of task %s failed."
    guarded(lambda: log.error(text, record.id, exc_info=error), None)
