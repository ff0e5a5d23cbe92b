"""Notes once a second that the event loop is alive, and how late it came to that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wopr.domain.clock import naive_now
from wopr.engine.shared import Shared

EVERY = 1.0
"""Seconds."""


class Heartbeat:
    """Beats while there are workers.

    Args:
        shared: what it is noted in.
        look: called at each beat.
    """

    def __init__(self, shared: Shared, look: Callable[[], None]) -> None:
        self._shared = shared
        self._look = look
        self._timer: asyncio.TimerHandle | None = None
        self._expected = 0.0

    def start(self) -> None:
        """Beat from now on."""
        if self._timer is None:
            self._expected = self._shared.loop.time()
            self._beat()

    def stop(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        shared, now = self._shared, self._shared.loop.time()
        shared.seen_at = naive_now(shared.clock)
        shared.loop_lag = max(0.0, now - self._expected)
        self._expected = now + EVERY
        self._timer = shared.loop.call_at(self._expected, self._beat)
        self._look()
