"""Use a queue from code without an event loop: one small bridge, not a second API."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, ParamSpec, Protocol, Self, TypeVar

from wopr.access.bridge import LoopThread
from wopr.calls.present import present
from wopr.core.core import Core
from wopr.domain.errors import QueueClosedError, StorageForkedError
from wopr.queue.face import inside

P = ParamSpec("P")
R = TypeVar("R")


log = logging.getLogger(__name__)

HURRIED_SECONDS = 3.0
"""So long a close that was interrupted waits for its own end: a loop that is blocked has none."""


class Closable(Protocol):
    """A queue, as far as this module is concerned."""

    _core: Core

    async def shutdown(self, timeout: float | None = None) -> None:
        """Stop and close."""
        ...


class SyncQueue:
    """Calls any coroutine function of the queue and waits for it; from any thread.

    ::

        with queue.sync() as sync:
            handle = sync(send_mail.enqueue, "ada@example.org")
            print(sync(handle.result, timeout=10))

    The queue runs on an event loop in a thread of its own until ``close``; workers
    started through it run there. Where the queue is open on another thread's event loop,
    as in a worker or through another bridge, calls run on that one.
    """

    def __init__(self, queue: Closable) -> None:
        self._queue = queue
        self._access = inside(queue).access
        self._access.open_in.check(self._access.database)
        self._own: LoopThread | None = None

    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run ``function(*args, **kwargs)`` on the queue's loop and return what it returns.

        Raises:
            QueueClosedError: called from the queue's own loop, which would wait for itself; or
                the queue is closed by another thread meanwhile.
            StorageForkedError: this process was forked while the queue was open.
        """
        self._access.open_in.check(self._access.database)
        if kwargs.get("connection") is not None:
            kwargs["connection"] = present(kwargs["connection"])
        with self._access.bridging:  # what is handed over here, close() finds and ends
            loop = self._running()
            if _current_loop() is loop:
                raise QueueClosedError(
                    "A task that runs on the queue's own event loop can't wait for that loop: "
                    "in an async task write `await function(…)`."
                )
            future = asyncio.run_coroutine_threadsafe(function(*args, **kwargs), loop)
        try:
            return future.result()
        except CancelledError:
            raise QueueClosedError("The queue was closed while this call was under way.") from None

    def _running(self) -> asyncio.AbstractEventLoop:
        home = self._access.bridge
        if home is None:
            shared = self._access.loop
            if shared is not None:
                return shared
            home = self._access.bridge = self._own = LoopThread()
        if home.closing:
            raise QueueClosedError("Another thread is closing the queue; wait for that to end.")
        if not home.thread.is_alive():
            raise StorageForkedError(
                "This process was forked from one that used the queue already, and its thread "
                "is not here. Use the queue, or start worker processes, after the fork only."
            )
        return home.loop

    def close(self) -> None:
        """Shut the queue down and end its thread. Idempotent; does nothing if it has none here.

        Ctrl-C meanwhile ends the grace time: what runs is interrupted, its rows go back to
        PENDING, and ``KeyboardInterrupt`` is raised once the file is closed.
        """
        if self._access.open_in.parent:
            return
        with self._access.bridging:
            own, self._own = self._own, None
            if own is None or not own.thread.is_alive():
                return
            own.closing = True
            self._access.stop_starting()
        try:
            asyncio.run_coroutine_threadsafe(self._end(), own.loop).result()
        except KeyboardInterrupt:
            hurried = asyncio.run_coroutine_threadsafe(self._queue.shutdown(0), own.loop)
            with contextlib.suppress(TimeoutError, CancelledError):
                hurried.result(HURRIED_SECONDS)
            raise
        finally:
            own.end(HURRIED_SECONDS)
            self._access.bridge = None

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
        self._access.open_in.check(self._access.database)
        with self._access.bridging:
            self._running()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def until_stopped(start: Callable[[], threading.Thread], stop: Callable[[], None]) -> None:
    """Start, and return once the thread has ended or Ctrl-C has stopped in order what it is for.

    Tasks may run before ``start`` returns: a Ctrl-C from then on is one of these, too.

    Raises:
        KeyboardInterrupt: Ctrl-C came a second time, while that was being stopped.
    """
    try:
        thread = start()
        while thread.is_alive():
            thread.join(1.0)  # one without a limit can't be interrupted on every system
    except KeyboardInterrupt:
        log.warning(
            "Ctrl-C: nothing new starts, and what runs may end. Press it again to interrupt that."
        )
        stop()


def _current_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
