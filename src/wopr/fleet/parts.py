"""What the parts of one host's side of a fleet share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wopr.calls.registry import Registry
from wopr.domain.clock import naive_now
from wopr.domain.guarded import guarded
from wopr.domain.status import CLAIMABLE, TERMINAL
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition, added
from wopr.fleet.servertime import ServerTime
from wopr.ports.storage import Entry
from wopr.running.surroundings import Surroundings
from wopr.storage.postgres.notices import Bell
from wopr.storage.postgres.store import Store

log = logging.getLogger(__name__)

Observer = Callable[[TaskRecord, Transition], None]
"""Told of a transition that this host made, once it is durable; on the event loop."""


@dataclass(slots=True)
class Parts:
    """What they share; used on one event loop only."""

    store: Store
    around: Surroundings
    clock: ServerTime
    bell: Bell
    wake: Callable[[str, datetime | None], None]
    """Told of a category that has something to start, now or then."""
    ended: Callable[[TaskRecord], None]
    """Told of a task that has ended."""
    categories: Callable[[], Sequence[str]]
    """Tells which categories have workers here."""
    registry: Registry = field(init=False)
    observers: list[Observer] = field(default_factory=list)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a shutdown is to give no more grace time."""
    stopping: bool = False
    _spawned: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.registry = self.around.registry

    def now(self) -> datetime:
        """Return the time as records hold it."""
        return naive_now(self.clock)

    def tell(self, changes: Iterable[Entry]) -> None:
        """Tell everybody whom it concerns, here and on other hosts, what is durable now."""
        for record, transition in changes:
            if record.status in TERMINAL:
                self.bell.ended(record.id)
                self.ended(record)
            elif record.status in CLAIMABLE and not record.waiting:
                self.wake(record.category, record.run_at)
                if record.run_at is None or record.run_at <= self.now():
                    self.bell.work(record.category)
            for observer in tuple(self.observers):
                try:
                    observer(record, transition)
                except BaseException as error:  # noqa: BLE001 - whatever it is
                    _complain(record, error)

    def tell_new(self, whole: Sequence[TaskRecord]) -> None:
        """Tell everybody of new tasks; those of a category at once, if nobody looks at each."""
        if self.observers:
            self.tell([(record, added(record)) for record in whole])
            return
        for category, run_at in {(one.category, one.run_at) for one in whole if not one.waiting}:
            self.wake(category, run_at)
            if run_at is None or run_at <= self.now():
                self.bell.work(category)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside; it is waited for at the end."""
        task = self.around.loop.create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)

    async def settle_down(self) -> None:
        """Return once nothing goes on beside."""
        while self._spawned:
            await asyncio.wait(set(self._spawned))


def _complain(record: TaskRecord, error: BaseException) -> None:
    text = "An observer of task %s failed."
    guarded(lambda: log.error(text, record.id, exc_info=error), None)


@contextlib.contextmanager
def logged(what: str) -> Any:
    """Log what goes wrong in work that nobody awaits, and go on."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - it is tried again at the next look
        log.warning("%s: %s", what, error)
