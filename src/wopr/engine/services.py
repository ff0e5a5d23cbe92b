"""What the parts of one engine share."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from wopr.domain.clock import Clock
from wopr.domain.errors import QueueClosedError
from wopr.domain.task import TaskRecord
from wopr.engine.registry import Registry
from wopr.engine.threads import Threads
from wopr.ports.storage import Entry, Storage


class Following(Protocol):
    """What is written together with the end of a task, because it waited for that."""

    entries: list[Entry]

    def done(self, error: BaseException | None) -> None:
        """Go on once the commit is known."""
        ...


class Written:
    """The ``done`` of a write that somebody awaits. One object, because there are many."""

    __slots__ = ("after", "future")

    def __init__(
        self, future: asyncio.Future[None], after: Callable[[BaseException | None], None]
    ) -> None:
        self.future = future
        self.after = after

    def __call__(self, error: BaseException | None) -> None:
        """Go on, and tell who waits."""
        try:
            self.after(error)
        finally:
            if not self.future.cancelled():
                if error is None:
                    self.future.set_result(None)
                else:
                    self.future.set_exception(error)


@dataclass(slots=True)
class Services:
    """One engine's storage, clock and shared state; used on its event loop only."""

    storage: Storage
    registry: Registry
    clock: Clock
    rng: random.Random
    loop: asyncio.AbstractEventLoop
    ended: Callable[[TaskRecord], None]
    follow: Callable[[TaskRecord], Following | None] = lambda record: None
    release: Callable[[list[TaskRecord]], None] = lambda records: None
    threads: Threads = field(default_factory=Threads)
    live: dict[str, TaskRecord] = field(default_factory=dict)
    waiters: dict[str, list[asyncio.Future[TaskRecord]]] = field(default_factory=dict)
    _reads: list[set[str]] = field(default_factory=list)

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
        written = Written(self.loop.create_future(), after)
        self.storage.submit(entries, written)
        await written.future

    def send_away(self) -> None:
        """End the waiting of all who wait for a task: the queue is closed."""
        for futures in self.waiters.values():
            for future in futures:
                if not future.done():
                    future.set_exception(
                        QueueClosedError(
                            "The queue was shut down while this call waited for a task."
                        )
                    )
                    future.exception()  # seen, should nobody await it any more
        self.waiters.clear()


def naive_now(clock: Clock) -> datetime:
    """Return the time as records hold it: UTC, without a zone."""
    return clock.now().replace(tzinfo=None)
