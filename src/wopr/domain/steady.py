"""What measures spans: a time that never goes back, whatever becomes of the machine's clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from wopr.domain.clock import Clock, naive_now
from wopr.domain.spoken import age, local

STEP_SECONDS = 3.0
"""Off by more since the last look, the wall clock was set; clocks are kept right by less."""
KEPT = 16
"""So many steps are remembered."""
TOLD = timedelta(days=1)
"""So long a step is told of."""
_NONE = timedelta(0)
_INEXACT = timedelta(seconds=STEP_SECONDS)
"""So far the wall clock may be off without that it was set."""


@dataclass(frozen=True, slots=True)
class Step:
    """The clock of the machine was set."""

    at: datetime
    """By the steady time."""
    before: datetime
    after: datetime

    def describe(self) -> str:
        """Say it in words."""
        seconds = (self.after - self.before).total_seconds()
        where = "forward" if seconds > 0 else "back"
        text = (
            f"The clock of this machine was set {where} by {age(abs(seconds))}: it said "
            f"{local(self.before)}, and then {local(self.after)}."
        )
        if seconds > 0:
            return f"{text} What the new time makes due is due; rates count real time."
        return (
            f"{text} Rates, delays, retries and intervals go on as if it had not been; fixed times "
            "follow the clock."
        )


class Steady:
    """Spans of one engine: the time since it was opened, and what a stored time means in it.

    A monotonic clock measures. The wall clock is compared with it at each look, because stored
    times and fixed times are by the wall.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Begin: nothing was measured so far, perhaps because the clock was not known."""
        clock = self._clock
        self._wall = self._opened = naive_now(clock)
        self._seen = self._began = clock.monotonic()
        self._base = self._opened, self._opened  # where the oldest stretch that is known begins
        self._steps: deque[Step] = deque()
        self.set_back = _NONE
        """How far the wall clock is behind what it would say, had it never been set back."""

    def now(self) -> datetime:
        """Return the steady time: the wall's at the opening, and what has passed since."""
        return self._opened + timedelta(seconds=self._clock.monotonic() - self._began)

    def look(self) -> Step | None:
        """Compare the clocks; return the step if the wall clock was set since the last look."""
        wall, seen = naive_now(self._clock), self._clock.monotonic()
        expected = self._wall + timedelta(seconds=seen - self._seen)
        self._wall, self._seen = wall, seen
        if abs((wall - expected).total_seconds()) < STEP_SECONDS:
            return None
        step = Step(self.now(), expected, wall)
        self._steps.append(step)
        if len(self._steps) > KEPT:
            oldest = self._steps.popleft()
            self._base = oldest.at, oldest.after
        self.set_back = max(_NONE, self.set_back - (wall - expected))
        return step

    def _stretches(self) -> Iterator[tuple[datetime, datetime, datetime]]:
        """Yield when the wall clock ran undisturbed, the newest first.

        Each is its begin by the steady time, what the wall showed then, and its end.
        """
        end = self.now()
        for step in reversed(self._steps):
            yield step.at, step.after, end
            end = step.at
        yield *self._base, end

    def of(self, wall: datetime) -> datetime:
        """Return the steady time of a stored one; one of the future is as good as now.

        Where the wall showed a time twice, the later one is meant: spans are rather too long.
        """
        now = self.now()
        if not self._steps:  # as usual: then there is one stretch, up to now
            at, shown = self._base
            return min(at + (wall - shown), now)
        for at, shown, end in self._stretches():
            begun = shown <= wall or (at, shown) == self._base  # which began before the opening
            if begun and wall - shown <= end - at + _INEXACT:
                return min(at + (wall - shown), now)
        return now

    def wall_since(self, span: timedelta) -> datetime:
        """Return the earliest time that the wall showed within a span before now."""
        cut = self.now() - span
        return min(
            shown + (cut - at if cut > at or (at, shown) == self._base else _NONE)
            for at, shown, end in self._stretches()
            if end >= cut
        )

    def told(self) -> str:
        """Return what there is to say about the newest step; empty if it is long ago."""
        if not self._steps or self.now() - self._steps[-1].at > TOLD:
            return ""
        return self._steps[-1].describe()
