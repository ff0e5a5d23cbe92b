"""Whether a lone write is synced in the thread that hands it over."""

from __future__ import annotations

SLOW_SECONDS = 0.005
OFF_SECONDS = 60.0
LONGEST_OFF_SECONDS = 3600.0


class Inline:
    """Saves a lone write the way to the journal's thread and back, while the disk is fast.

    One sync that holds the caller's thread up turns it off for a minute, and for twice as
    long each time that happens again at once.
    """

    def __init__(self, *, wanted: bool, synced: bool = True) -> None:
        self._wanted = wanted
        self._synced = synced
        self._off_until = 0.0
        self._off_for = OFF_SECONDS

    def allowed(self, now: float) -> bool:
        """Whether to do so at ``now``, on a clock that never goes back, in seconds."""
        return self._wanted and now >= self._off_until

    def took(self, seconds: float, now: float) -> bool:
        """Note how long one took; return whether that turned it off."""
        if seconds <= SLOW_SECONDS or not self._synced:  # it is the machine that is busy
            if now - self._off_until > self._off_for:
                self._off_for = OFF_SECONDS
            return False
        self._off_until = now + self._off_for
        self._off_for = min(2 * self._off_for, LONGEST_OFF_SECONDS)
        return True
