"""Read a category's waiting tasks from the storage before memory runs dry."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from wopr.domain.clock import naive_now
from wopr.domain.task import TaskRecord
from wopr.engine.pools.lanes import Key, Lanes
from wopr.engine.shared import Shared
from wopr.ports.storage import weight

log = logging.getLogger(__name__)


class Pager:
    """Pages in what the lanes of one pool do not hold."""

    def __init__(
        self,
        category: str,
        lanes: Lanes,
        shared: Shared,
        window: int,
        wake: Callable[[], None],
        back_off: Callable[[], float],
    ) -> None:
        self._category = category
        self._lanes = lanes
        self._shared = shared
        self._wake = wake
        self._back_off = back_off
        self._page = max(window // 4, min(window, 10))  # small: the first page starts the work
        self._tasks: set[asyncio.Task[None]] = set()

    def page_in(self, now: datetime) -> None:
        """Start reading for the lanes that run low."""
        for key, after in self._lanes.lanes_to_page():
            most_bytes = self._lanes.page_started(key)
            self._spawn(self._page_lane(key, after, self._lanes.latest, most_bytes))
        if self._lanes.wants_later(now):
            self._spawn(self._page_later(self._lanes.later_started()))

    def trim(self) -> None:
        """Leave to the storage what is over the window."""
        for record in self._lanes.trim():
            if record.waiting:  # the storage would not give it back
                self._shared.release([record])
            elif self._shared.storage.in_flight(record):  # nor would it yet
                self._lanes.add_paged(record, self._lanes.latest)
            else:
                self._shared.live.pop(record.id, None)

    def close(self) -> None:
        """Give up what is being read: nothing starts any more, and the storage closes."""
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._shared.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _page_lane(self, key: Key, after: int, now: datetime, most_bytes: int) -> None:
        skip = sorted(self._lanes.unregistered)
        lane = self._category, key.priority, after, now, skip
        at_front = key.at_front if self._lanes.has_front else None
        with self._shared.reading() as changed:
            try:
                found = await self._shared.storage.ready(
                    *lane, self._page, most_bytes=most_bytes, at_front=at_front
                )
            except Exception as error:  # noqa: BLE001 - a storage that fails is asked again later
                self._lanes.page_failed(key)
                self._failed(error)
                return
        full = self._is_full(found, most_bytes)
        last = None if not found else -found[-1].seq if at_front else found[-1].seq
        self._lanes.page_ended(key, last, full=full)
        self._take(found, changed)

    async def _page_later(self, most_bytes: int) -> None:
        bound = self._lanes.later_beyond or naive_now(self._shared.clock)
        which = self._category, bound, sorted(self._lanes.unregistered)
        with self._shared.reading() as changed:
            try:
                storage = self._shared.storage
                found = await storage.delayed(*which, self._page, most_bytes=most_bytes)
            except Exception as error:  # noqa: BLE001 - a storage that fails is asked again later
                self._lanes.later_failed()
                self._failed(error)
                return
        full = self._is_full(found, most_bytes)
        self._lanes.later_ended(found[-1].run_at if found else None, full=full)
        self._take(found, changed)

    def _is_full(self, found: list[TaskRecord], most_bytes: int) -> bool:
        """Whether a page has all that one may have, so that there may be another."""
        return len(found) == self._page or sum(map(weight, found)) >= most_bytes

    def _failed(self, error: Exception) -> None:
        log.error("Reading waiting tasks of %r failed: %s", self._category, error)
        self._back_off()

    def _take(self, found: list[TaskRecord], changed: set[str]) -> None:
        """Take a page, without what is in memory already or changed while it was read."""
        now = self._shared.wall()
        live = self._shared.live
        for record in found:
            if record.id not in live and record.id not in changed:
                live[record.id] = record
                self._lanes.add_paged(record, now)
        self.trim()
        self._wake()
