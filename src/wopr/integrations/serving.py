"""A queue for as long as an application serves: on its event loop, or on one of its own."""

from __future__ import annotations

import atexit
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

from wopr.queue import TaskQueue
from wopr.sync import SyncQueue

WORKERS: Mapping[str, int] = MappingProxyType({"default": 4})
"""Workers by category, unless the application says otherwise."""

_bridges: dict[TaskQueue, SyncQueue] = {}
_lock = threading.Lock()


@asynccontextmanager
async def serving(queue: TaskQueue, workers: Mapping[str, int]) -> AsyncIterator[None]:
    """Open the queue and start workers; shut it down at the end.

    Args:
        queue: which one.
        workers: how many, by category; with 0, or none at all, this process only enqueues.

    Raises:
        InvalidCallError: a number of workers is not one from 0 to 10,000.
        StorageOwnedError: another process owns the file, so there can be no workers here.
    """
    async with queue:
        for category, count in workers.items():
            if count != 0:
                await queue.start_workers(category, count)
        yield


def bridge_of(queue: TaskQueue) -> SyncQueue:
    """Return this process's one bridge to a queue, for all threads; closed at exit."""
    with _lock:
        if queue not in _bridges:
            _bridges[queue] = queue.sync()
            atexit.register(_bridges[queue].close)
        return _bridges[queue]
