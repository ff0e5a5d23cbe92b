"""What several pages want to know at once is asked once, and kept for seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

from starlette.requests import Request

T = TypeVar("T")

MOST_KEPT = 200
"""So many answers are kept; the oldest goes first."""


class Recent:
    """Answers of the last seconds. Nothing is asked while nobody wants to know."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[float, asyncio.Future[Any]]] = {}

    async def get(self, key: Hashable, seconds: float, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the answer of a question, at most so many seconds old; who comes late waits."""
        loop = asyncio.get_running_loop()
        known = self._kept.get(key)
        if known is None or _over(known[1]) or (known[1].done() and known[0] < loop.time()):
            asked = asyncio.ensure_future(ask())
            self._kept.pop(key, None)
            self._kept[key] = known = (loop.time() + seconds, asked)
            asked.add_done_callback(lambda done: self._answered(key, done, seconds))
            while len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        return cast("T", await asyncio.shield(known[1]))

    def forget(self) -> None:
        """Keep nothing: somebody has changed something, and wants to see it."""
        self._kept.clear()

    def _answered(self, key: Hashable, done: asyncio.Future[Any], seconds: float) -> None:
        known = self._kept.get(key)
        if known is not None and known[1] is done:
            self._kept[key] = (done.get_loop().time() + seconds, done)
            if _over(done):
                del self._kept[key]


def _over(asked: asyncio.Future[Any]) -> bool:
    """Whether there will be no answer; asking for the exception also says that it was seen."""
    return asked.done() and (asked.cancelled() or asked.exception() is not None)


def recent_of(request: Request) -> Recent:
    """Return the answers that the application keeps."""
    state = request.app.state
    if not hasattr(state, "recent"):
        state.recent = Recent()
    return cast("Recent", state.recent)
