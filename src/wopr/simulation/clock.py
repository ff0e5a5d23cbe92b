"""The time of a simulation: it stands still until there is nothing left to do at a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2030, 1, 7, 9, 0, tzinfo=UTC)
"""A Monday morning."""


class VirtualClock:
    """A wall clock that can be set, and a monotonic one that only moves on; seconds from 0."""

    def __init__(self, start: datetime = START) -> None:
        self.seconds = 0.0
        """What :meth:`monotonic` says; the event loop moves it."""
        self._start = start.astimezone(UTC)
        self._off = timedelta(0)
        self._shown = -1.0
        self._now = self._start

    def now(self) -> datetime:
        """Return what the wall clock shows, aware, in UTC."""
        if self._shown != self.seconds:
            self._shown = self.seconds
            self._now = self._start + timedelta(seconds=self.seconds) + self._off
        return self._now

    def monotonic(self) -> float:
        """Return the virtual seconds since the begin."""
        return self.seconds

    def set_by(self, seconds: float) -> None:
        """Set the wall clock forward, or back; the monotonic one does not notice."""
        self._off += timedelta(seconds=seconds)
        self._shown = -1.0

    def set_right(self) -> None:
        """Let the wall clock show the true time again."""
        self._off = timedelta(0)
        self._shown = -1.0
