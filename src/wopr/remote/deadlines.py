"""Until when answers are waited for: one timer of the loop for all, however many there are."""

from __future__ import annotations

import asyncio
from typing import Any

Answer = asyncio.Future[Any]


class Deadlines:
    """Ends the waiting for answers, each at its time. Used on one event loop."""

    def __init__(self) -> None:
        self._ends: dict[Answer, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def set(self, answer: Answer, seconds: float) -> None:
        """Let an answer be a :class:`TimeoutError` in so many seconds, unless it is there."""
        end = answer.get_loop().time() + seconds
        self._ends[answer] = end
        if self._timer is None or end < self._timer.when():
            self._ring(answer.get_loop(), end)

    def drop(self, answer: Answer) -> None:
        """Let an answer take as long as it takes: it is there, or nobody waits for it."""
        self._ends.pop(answer, None)

    def _ring(self, loop: asyncio.AbstractEventLoop, end: float) -> None:
        self.stop()
        self._timer = loop.call_at(end, self._end)

    def _end(self) -> None:
        self._timer = None
        if not self._ends:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        for answer in [answer for answer, end in self._ends.items() if end <= now]:
            del self._ends[answer]
            if not answer.done():
                answer.set_exception(TimeoutError())
        if self._ends:
            self._ring(loop, min(self._ends.values()))

    def stop(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
