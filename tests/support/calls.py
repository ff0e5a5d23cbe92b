"""Calls as the engine makes them, for tests of what runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from wopr.domain.callables import is_async_callable
from wopr.domain.codec import CallCodec
from wopr.executors.call import Call
from wopr.executors.context import CurrentTask


class Reports:
    """What a task reports, as it arrives in the queue's process."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, str]] = []
        self._loop = asyncio.get_running_loop()
        self._first: asyncio.Future[str] = self._loop.create_future()

    def __call__(
        self, task: CurrentTask, percent: float, message: str, data: Mapping[str, Any] | None
    ) -> None:
        self.seen.append((percent, message))
        self._loop.call_soon_threadsafe(self._tell, message)

    def _tell(self, message: str) -> None:
        if not self._first.done():
            self._first.set_result(message)

    async def first(self) -> str:
        """Wait for the first report and return its message."""
        async with asyncio.timeout(60):
            return await asyncio.shield(self._first)


def call(
    function: Callable[..., Any],
    *args: Any,
    soft_timeout: float | None = None,
    report: Reports | None = None,
    name: str = "work",
    **kwargs: Any,
) -> Call:
    """Return a run of ``function``, as attempt 2 of task 17."""
    codec = CallCodec(function, name)
    task = CurrentTask("17", name, "default", 2, report or (lambda *_: None))
    return Call(function, args, kwargs, task, soft_timeout, is_async_callable(function), codec)
