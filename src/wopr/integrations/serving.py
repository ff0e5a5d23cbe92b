"""A queue for as long as an application serves: on its event loop, or on one of its own."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

from wopr.domain.checks import check_count
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.queue.queue import TaskQueue
from wopr.queue.sync import SyncQueue

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)

WORKERS: Mapping[str, int] = MappingProxyType({"default": 4})
"""Workers by category, unless the application says otherwise."""

_bridges: dict[TaskQueue, SyncQueue] = {}
_lock = threading.Lock()


def checked(queue: object, workers: object) -> dict[str, int]:
    """Return the workers to start, by category; those with 0 are left out.

    Raises:
        InvalidCallError: it is no queue, or no dict of category to number from 0 to 10,000.
    """
    if not isinstance(queue, TaskQueue):
        raise InvalidCallError(f"queue must be a TaskQueue, not {shown(queue)}.")
    if not isinstance(workers, Mapping) or not all(isinstance(key, str) for key in workers):
        raise InvalidCallError(
            f"workers is a dict of category to number, like {{'images': 4}}, not {shown(workers)}."
        )
    counts = {
        category: check_count(count, f"workers[{category!r}]", most=10_000)
        for category, count in workers.items()
    }
    return {category: count for category, count in counts.items() if count}


async def start(queue: TaskQueue, workers: Mapping[str, int]) -> None:
    """Start workers here, or stand by; warn of those that will have nothing to do.

    Raises:
        StorageOwnedError: another process owns the file, and can't be asked for it.
    """
    for category, count in workers.items():
        await queue.start_workers(category, count)
        if category not in queue.categories:
            log.warning(
                "No task is registered in category %r: its workers have nothing to do.", category
            )


@asynccontextmanager
async def serving(queue: TaskQueue, workers: Mapping[str, int]) -> AsyncIterator[None]:
    """Open the queue and start workers; shut it down at the end.

    Args:
        queue: which one.
        workers: how many, by category, in whichever process owns the file; with none at all,
            this process only enqueues.

    Raises:
        StorageOwnedError: another process owns the file, and can't be asked for it.
    """
    async with queue:
        await start(queue, workers)
        yield


class ExitBridge(SyncQueue):
    """A bridge that is closed when the process exits.

    What is registered last is called first at exit, and each opening of the queue registers the
    end of its storage. So this is registered anew after each opening.
    """

    def __init__(self, queue: TaskQueue) -> None:
        super().__init__(queue)
        self._seen: object = self  # no engine yet

    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run ``function(*args, **kwargs)`` on the queue's loop and return what it returns."""
        try:
            return super().__call__(function, *args, **kwargs)
        finally:
            engine = self._access.engine
            if engine is not self._seen:
                self._seen = engine
                atexit.unregister(self.close)
                atexit.register(self.close)

    def close(self) -> None:
        """Shut the queue down and end its thread. Idempotent; used again, it opens again."""
        self._seen = self
        atexit.unregister(self.close)
        super().close()


def bridge_of(queue: TaskQueue) -> SyncQueue:
    """Return this process's one bridge to a queue, for all threads; closed at exit."""
    with _lock:
        if queue not in _bridges:
            _bridges[queue] = ExitBridge(queue)
        return _bridges[queue]
