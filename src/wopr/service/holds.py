"""What holds tasks back, told in the worker's log: at the start, and once when it appears."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable

from wopr.domain.clock import Clock
from wopr.domain.errors import WoprError
from wopr.domain.reason import Reason, Severity
from wopr.queue.queue import TaskQueue, inside

log = logging.getLogger("wopr.worker")

LOOK_SECONDS = 30.0
FORGET_SECONDS = 600.0
"""A reason that was gone for less is the same one: limits come and go all the time."""
MOST_TOLD = 20
"""So many at once; the others are counted."""


class Holds:
    """Looks now and then what holds tasks back, and tells what is new."""

    def __init__(self, queue: TaskQueue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self._seen: dict[tuple[str, ...], float] = {}
        """When each reason was there last, by the clock's monotonic seconds."""

    async def watch(self) -> None:
        """Look, and go on until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once, and log what is new."""
        backend = inside(self._queue).access.local
        if backend is None:  # the file was given up, or is being closed
            return
        try:
            status = await backend.status(brief=True)
        except (WoprError, TimeoutError) as error:
            log.warning("What holds tasks back could not be looked at: %s", error)
            return
        new = self.new(status.reasons)
        for one in new[:MOST_TOLD]:
            mend = f" To mend it, or to see more: `{one.command}`" if one.command else ""
            level = logging.INFO if one.severity is Severity.WARNING else logging.WARNING
            log.log(level, "%s%s", one.text, mend, extra={"reason": one.kind})
        if len(new) > MOST_TOLD:
            log.warning("And %d more; all of them: wopr status", len(new) - MOST_TOLD)

    def new(self, reasons: Iterable[Reason]) -> list[Reason]:
        """Return those that hold tasks and were not there lately."""
        now = self._clock.monotonic()
        self._seen = {key: last for key, last in self._seen.items() if now - last < FORGET_SECONDS}
        holding = [one for one in reasons if one.tasks or one.severity is not Severity.WARNING]
        found = [one for one in holding if one.key not in self._seen]
        self._seen.update(dict.fromkeys((one.key for one in holding), now))
        return found


@contextlib.asynccontextmanager
async def holds_told(queue: TaskQueue, clock: Clock) -> AsyncIterator[None]:
    """Tell what holds the tasks of a queue back for an ``async with`` block."""
    watching = asyncio.create_task(Holds(queue, clock).watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})
