"""Use a queue from code without an event loop: one small bridge, not a second API."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from wopr.domain.errors import QueueClosedError

if TYPE_CHECKING:
    from wopr.queue import TaskQueue

P = ParamSpec("P")
R = TypeVar("R")


class SyncQueue:
    """Calls any coroutine function of the queue and waits for it; from any thread.

    ::

        with queue.sync() as sync:
            handle = sync(send_mail.enqueue, "ada@example.org")
            print(sync(handle.result, timeout=10))

    The queue runs on an event loop in a thread of its own until ``close``; workers
    started through it run there. Where the queue is open on another thread's event loop,
    as in a worker, calls run on that one.
    """

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run ``function(*args, **kwargs)`` on the queue's loop and return what it returns.

        Raises:
            QueueClosedError: called from the queue's own loop, which would wait for itself.
        """
        loop = self._running()
        if _current_loop() is loop:
            raise QueueClosedError(
                "A task that runs on the queue's own event loop can't wait for that loop: "
                "in an async task write `await function(…)`."
            )
        return asyncio.run_coroutine_threadsafe(function(*args, **kwargs), loop).result()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                shared = self._queue._opening.loop  # noqa: SLF001 - the two are one thing
                if shared is not None:
                    return shared
                loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=loop.run_forever, name="wopr-loop", daemon=True
                )
                self._thread.start()
                self._loop = loop
            return self._loop

    def close(self) -> None:
        """Shut the queue down and end its thread. Idempotent."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(self._end(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()

    async def _end(self) -> None:
        """Shut down, and let no thread wait for ever for a call that is still under way."""
        try:
            await self._queue.shutdown()
        finally:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def __enter__(self) -> Self:
        self._running()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _current_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
