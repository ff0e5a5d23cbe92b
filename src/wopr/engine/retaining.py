"""Delete ended tasks whose own time is over, a portion at a time, where little else goes on."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

from wopr.domain.clock import naive_now
from wopr.domain.errors import WoprError
from wopr.domain.retaining import kept_until
from wopr.domain.spoken import counted
from wopr.domain.task import TaskRecord
from wopr.engine.shared import Shared

log = logging.getLogger(__name__)

EVERY = timedelta(minutes=1)
"""What is over is looked for so often at most, unless there is much of it."""
MUCH = 1_000
BUSY_ROWS = 5_000
"""While the tables are so many transitions behind, it waits."""
PATIENCE = timedelta(minutes=10)
"""So long; then it is done all the same."""


class Retaining:
    """Ends the time of ended tasks in one engine. Where none says how long, nothing is read.

    Args:
        shared: whose tasks.
        deleting: held while rows are deleted.
    """

    def __init__(self, shared: Shared, deleting: asyncio.Lock) -> None:
        self._shared = shared
        self._deleting = deleting
        self._forgetting: asyncio.Task[None] | None = None
        self.next_at: datetime | None = naive_now(shared.clock) + EVERY
        """When the time of the next one is over, as far as known: at first, nobody has looked."""

    def ended(self, record: TaskRecord) -> None:
        """Note that a task has ended."""
        until = kept_until(record)
        if until is not None:
            self.next_at = until if self.next_at is None else min(until, self.next_at)

    def look(self) -> None:
        """Delete what is over by now, if this is a quiet moment."""
        now = naive_now(self._shared.clock)
        if self._forgetting is not None or self.next_at is None or now < self.next_at:
            return
        behind = self._shared.storage.journal
        if behind is not None and behind.rows > BUSY_ROWS and now < self.next_at + PATIENCE:
            return
        self._forgetting = self._shared.loop.create_task(self._forget(now))

    async def _forget(self, now: datetime) -> None:
        count, self.next_at = 0, None
        try:
            async with self._deleting:
                count, until = await self._shared.storage.forget(now)
        except WoprError as error:
            log.error("Tasks that are not to be kept any longer can't be deleted: %s", error)
            until = now
        finally:
            self._forgetting = None
        if count:
            told = counted(count, "task")
            log.info("Deleted %s, not to be kept any longer (retain=).", told)
        if count >= MUCH:
            until = now
        elif until is not None:
            until = max(until, now + EVERY)
        known = [one for one in (until, self.next_at) if one is not None]
        self.next_at = min(known, default=None)

    async def close(self) -> None:
        """Stop; what is over is deleted after the next opening."""
        if self._forgetting is not None:
            self._forgetting.cancel()
            await asyncio.gather(self._forgetting, return_exceptions=True)
