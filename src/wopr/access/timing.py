"""By whose clock the moments of calls are meant, as those of ``delay=`` and ``expires=``."""

from __future__ import annotations

from datetime import datetime

from wopr.domain.clock import Clock
from wopr.fleet.servertime import ServerTime


class Timing:
    """The part of an access that knows what time it is where the tasks are."""

    _clock: Clock

    @property
    def server_time(self) -> ServerTime | None:
        """The time of the server that has the tasks; ``None``: this machine has the file."""
        return None

    @property
    def time(self) -> Clock:
        """The clock by which tasks become due."""
        server = self.server_time
        return self._clock if server is None else server

    async def learn_time(self) -> None:
        """Return once :attr:`time` is right; where the tasks are elsewhere, they are asked."""


class Time:
    """The clock of where the tasks of an access are, wherever that is by then."""

    def __init__(self, access: Timing) -> None:
        self._access = access

    @property
    def known(self) -> bool:
        """Whether it is right by now."""
        server = self._access.server_time
        return server is None or server.known

    def now(self) -> datetime:
        """Return the wall-clock time there, aware, in UTC."""
        return self._access.time.now()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._access.time.monotonic()

    def of(self, moment: datetime) -> datetime:
        """Return what it showed when the clock of this machine showed a moment."""
        server = self._access.server_time
        return moment if server is None else server.of(moment)
