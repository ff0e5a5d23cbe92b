"""The time of the database's server, by which all hosts go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from wopr.domain.clock import Clock, SystemClock

LEAST = timedelta(milliseconds=500)
"""Off by less the host's clock is right: no look at the server's is more exact."""


class ServerTime:
    """The host's clock, and how far it is off; a clock that was injected is never off."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._follows = isinstance(clock, SystemClock)
        self.off = timedelta(0)

    def now(self) -> datetime:
        """Return the wall-clock time of the server, aware, in UTC."""
        return self._clock.now() + self.off

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._clock.monotonic()

    def look(self, server: datetime, seconds: float) -> timedelta | None:
        """Take what the server's clock said; return how far off, if that is new.

        Args:
            server: what it said, sometime while the answer was waited for.
            seconds: so long that was; after a long wait only a clock that is off by more is
                known to be off.
        """
        if not self._follows:
            return None
        least = max(LEAST, timedelta(seconds=seconds))
        off = server.astimezone(UTC) - self._clock.now() + timedelta(seconds=seconds / 2)
        if abs(off) < LEAST:
            off = timedelta(0)
        if abs(off - self.off) < least:
            return None
        self.off = off
        return off
