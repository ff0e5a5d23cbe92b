"""Threads for sync functions. A thread that never returns must not hold anything up.

Not ``ThreadPoolExecutor``: that one waits at interpreter exit for threads which
were abandoned after a timeout, and has an upper bound that they would use up.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

IDLE_SECONDS = 10.0


class Threads:
    """Run functions in daemon threads that are kept for reuse."""

    def __init__(self) -> None:
        self._work: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = (
            SimpleQueue()
        )
        self._idle = 0
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    async def run(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Return what the function returns, or raise what it raises.

        If the awaiting coroutine is cancelled the function goes on in its thread,
        and what it returns is dropped.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def call() -> Any:
            return context.run(function, *args, **kwargs)

        with self._lock:
            start = self._idle == 0
            if not start:
                self._idle -= 1
        if start:
            name = f"wopr-task-{next(self._numbers)}"
            threading.Thread(target=self._loop, name=name, daemon=True).start()
        self._work.put((call, future))
        ok, value = await future
        if ok:
            return value
        raise value

    def _loop(self) -> None:
        while True:
            try:
                item = self._work.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._idle == 0:  # somebody has just counted on this thread
                        continue
                    self._idle -= 1
                return
            if item is None:
                return
            self._do(*item)
            del item
            with self._lock:
                self._idle += 1

    def _do(self, call: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        try:
            outcome = (True, call())
        except BaseException as error:  # noqa: BLE001 - also SystemExit ends only the task
            outcome = (False, error)
        try:
            future.get_loop().call_soon_threadsafe(_resolve, future, outcome)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more


def _resolve(future: asyncio.Future[Any], outcome: tuple[bool, Any]) -> None:
    if not future.done():
        future.set_result(outcome)
