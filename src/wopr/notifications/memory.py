"""What a service keeps in memory: the newest events, live subscribers, the external queue."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from wopr.notifications.event import DEDUP_KEY, NotificationEvent

T = TypeVar("T")

ExternalHandler = Callable[[NotificationEvent], Awaitable[Any]]

MAX_HISTORY = 200
MAX_EXTERNAL_QUEUE = 500
MAX_SUBSCRIBER_QUEUE = 100
REPEAT_SECONDS = 5.0
"""So long an event with a ``dedup_key`` keeps its repeats out of the external queue."""


class Memory:
    """The events of this process. Used on the event loop only."""

    def __init__(self) -> None:
        self.history: deque[NotificationEvent] = deque(maxlen=MAX_HISTORY)
        self.subscribers: list[asyncio.Queue[str]] = []
        self.handlers: list[ExternalHandler] = []
        self.external: asyncio.Queue[NotificationEvent] = asyncio.Queue(MAX_EXTERNAL_QUEUE)
        self._seen: dict[tuple[str, str], datetime] = {}

    def add(self, event: NotificationEvent) -> None:
        """Keep an event, and hand it to the subscribers and to the external queue."""
        self.history.append(event)
        if self.subscribers:
            text = json.dumps(event.to_dict(), ensure_ascii=False)
            for queue in self.subscribers:
                _put(queue, text)
        if self.handlers and not self._repeated(event):
            _put(self.external, event)

    def _repeated(self, event: NotificationEvent) -> bool:
        key = event.metadata.get(DEDUP_KEY)
        if not key:
            return False
        now, window = event.created_at, timedelta(seconds=REPEAT_SECONDS)
        while self._seen:  # in the order of time, the oldest first
            oldest = next(iter(self._seen))
            if abs(now - self._seen[oldest]) < window:
                break
            del self._seen[oldest]
        mark = (str(key), event.level.value)
        earlier = self._seen.get(mark)
        if earlier is not None and abs(now - earlier) < window:
            return True
        self._seen.pop(mark, None)
        self._seen[mark] = now
        return False


def _put(queue: asyncio.Queue[T], item: T) -> None:
    """Add an item; a full queue loses its oldest one, and ``join()`` does not wait for that."""
    if queue.full():
        queue.get_nowait()
        queue.task_done()
    queue.put_nowait(item)
