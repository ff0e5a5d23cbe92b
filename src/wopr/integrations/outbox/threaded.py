"""Calls of a synchronous database driver, all in one thread: its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class OwnThread:
    """Runs functions one after the other in a thread, begun with the first of them."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None

    async def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one; whoever gives up waiting for it does not stop it."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "wopr-outbox")
        running = self._thread.submit(function, *args, **kwargs)
        return await asyncio.shield(asyncio.wrap_future(running))

    @property
    def begun(self) -> bool:
        """Whether there is a thread."""
        return self._thread is not None

    def end(self) -> None:
        """End the thread after what it was given. The next call begins another one."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False)
