"""When to write what was handed over on the event loop: at once, after this turn, or soon.

Writes of one turn share a sync, so usually the end of the turn is waited for. A single caller
that awaits each write would wait for nothing there: as long as turns bring one write each,
the write of the next turn is made where it stands. Whoever comes second in such a turn ends that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from wopr.storage.duckdb.journal.journal import LINGER_SECONDS

ROW = 4
ROW_SECONDS = 0.001
"""So many writes of one caller may follow each other without a turn of the loop in between, which
is what looks for input and timers; or more, while they take no longer than that together."""
ALONE_TURNS = 8
"""So many turns have to bring one write each, after one that brought more."""


class Turns:
    """Used on one event loop, by its thread.

    Args:
        write: writes what was handed over, and returns how many writes that were.
    """

    def __init__(self, write: Callable[[], int]) -> None:
        self._write = write
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lingers: asyncio.TimerHandle | None = None
        self._crowded = 0  # turns to wait for until writes are made at once again
        self._writing = False
        self._row = 0  # writes made at once in this turn
        self._row_ends = 0.0
        self._caller: asyncio.Task[object] | None = None  # of those
        self.ending = False
        """Whether what is handed over now is written at the end of this turn anyhow."""

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Go on with a loop; one before it may have ended in the middle."""
        if self._lingers is not None:
            self._lingers.cancel()
        self._loop, self._lingers = loop, None
        self._row, self.ending = 0, False

    def take(self, *, urgent: bool, now: bool) -> bool:
        """Take the first write of a turn; return whether to call :meth:`write_at_once` for it."""
        assert self._loop is not None
        if not urgent:
            if self._lingers is None:
                self._lingers = self._loop.call_later(LINGER_SECONDS, self._end)
            return False
        if now and self._alone():
            return True
        self.hurry()
        return False

    def _alone(self) -> bool:
        """Whether nobody else is expected to hand over something in this turn of the loop."""
        if self._crowded or self._writing:
            return False
        caller = asyncio.current_task()
        if self._row >= ROW and time.monotonic() >= self._row_ends:
            return False
        if not self._row:
            assert self._loop is not None
            self._caller, self._row_ends = caller, time.monotonic() + ROW_SECONDS
            self._loop.call_soon(self._next)
        elif caller is None or caller is not self._caller:  # callbacks may be of several
            self._crowded = ALONE_TURNS
            return False
        self._row += 1
        return True

    def _next(self) -> None:
        """Note that the loop had its turn."""
        self._row, self._caller = 0, None

    def write_at_once(self) -> None:
        """Write before this turn is over; what follows from it may hand over more."""
        self._writing = True
        try:
            self._write_now()
        finally:
            self._writing = False

    @property
    def lingers(self) -> bool:
        """Whether something waits for a few milliseconds."""
        return self._lingers is not None

    def hurry(self) -> None:
        """Write at the end of this turn; let nothing linger any more."""
        self._calm()
        if not self.ending:
            assert self._loop is not None
            self.ending = True
            self._loop.call_soon(self._end)

    def _end(self) -> None:
        self.ending = False
        count = self._write_now()
        if count > 1:
            self._crowded = ALONE_TURNS
        elif self._crowded:
            self._crowded -= 1

    def _write_now(self) -> int:
        self._calm()
        return self._write()

    def _calm(self) -> None:
        if self._lingers is not None:
            self._lingers.cancel()
            self._lingers = None
