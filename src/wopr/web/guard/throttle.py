"""How often somebody may: so many at once, and then as many as come back by the second."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

MOST_KEYS = 4_096
"""So many are remembered; who was here longest ago is forgotten first."""


class Throttle:
    """Counts for each key what is left.

    Args:
        burst: so many at once.
        rate: so many come back per second.
        now: seconds of a monotonic clock.
    """

    def __init__(self, burst: float, rate: float, now: Callable[[], float]) -> None:
        self._burst = burst
        self._rate = rate
        self._now = now
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._left)

    def take(self, key: Hashable) -> float:
        """Take one; return 0, or the seconds until there is one again."""
        left, now = self._of(key)
        wait = 0.0 if left >= 1 else (1 - left) / self._rate
        self._left[key] = (left - 1 if left >= 1 else left, now)
        self._left.move_to_end(key)
        if len(self._left) > MOST_KEYS:
            self._left.popitem(last=False)
        return wait

    def _of(self, key: Hashable) -> tuple[float, float]:
        now = self._now()
        left, since = self._left.get(key, (self._burst, now))
        return min(self._burst, left + (now - since) * self._rate), now
