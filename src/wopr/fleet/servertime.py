"""The time of the database's server, by which all hosts go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from wopr.domain.clock import Clock, SystemClock

LEAST = timedelta(milliseconds=500)
"""Off by less a host's clock is not worth a word."""


class ServerTime:
    """What the server's clock said, and what has passed since, whatever becomes of the host's.

    Until the server was asked it is the host's. A clock that was injected is right.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._follows = isinstance(clock, SystemClock)
        self._known: tuple[datetime, float] | None = None
        """A moment of the server, and of the clock that never goes back."""
        self._off = timedelta(0)

    @property
    def known(self) -> bool:
        """Whether it is the server's by now."""
        return self._known is not None or not self._follows

    def now(self) -> datetime:
        """Return the wall-clock time of the server, aware, in UTC."""
        if self._known is None:
            return self._clock.now()
        moment, seen = self._known
        return moment + timedelta(seconds=self._clock.monotonic() - seen)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._clock.monotonic()

    def of(self, moment: datetime) -> datetime:
        """Return what the server's clock showed when that of the host showed a moment."""
        return moment + (self.now() - self._clock.now()) if self._known else moment

    def look(self, server: datetime, seconds: float) -> timedelta | None:
        """Take what the server's clock said; return how far off the host's is, if that is new.

        Args:
            server: what it said, sometime while the answer was waited for.
            seconds: so long that was; between the two is what it may say now.
        """
        if not self._follows:
            return None
        least = server.astimezone(UTC)
        waited = timedelta(seconds=seconds)
        now = self.now()
        if not least <= now <= least + waited:
            now = least + waited / 2
        elif self._known is not None:
            return None  # it may be right to the moment
        self._known = now, self._clock.monotonic()
        return self._is_off(now - self._clock.now(), max(LEAST, waited))

    def _is_off(self, off: timedelta, least: timedelta) -> timedelta | None:
        if abs(off) < LEAST:
            off = timedelta(0)
        if abs(off - self._off) < least:
            return None
        self._off = off
        return off
