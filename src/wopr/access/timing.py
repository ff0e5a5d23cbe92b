"""By whose clock the moments of calls are meant, as those of ``delay=`` and ``expires=``."""

from __future__ import annotations

from wopr.domain.clock import Clock


class Timing:
    """The part of an access that knows what time it is where the tasks are."""

    _clock: Clock

    @property
    def time(self) -> Clock:
        """The clock by which tasks become due: that of this machine, which has the file."""
        return self._clock

    async def learn_time(self) -> None:
        """Return once :attr:`time` is right; where the tasks are elsewhere, they are asked."""
