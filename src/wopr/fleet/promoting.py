"""Tasks whose time has come stand in the order of their category before any of it is claimed.

The index of what is due now has no task that is due later, so a claim passes none of them. A claim
that finds some whose time has come since gives nothing; then these are promoted, and it is sent
again. Of a crowd the first in the order are promoted, 2,000 at a time, and what stands before the
last of them is claimed before the next are: so nobody waits for the whole crowd, and none of it
for a task that comes behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from wopr.fleet.parts import Parts
from wopr.ports.storage import Entry
from wopr.storage.postgres.promotion import EVERYTHING, Known, all_known

HELD = timedelta(seconds=0.1)
"""After so long it is asked again for tasks whose time has come, and which others had locked."""


class Promoting:
    """Claims in order, whatever has become due."""

    def __init__(self, parts: Parts, owner: Callable[[], int]) -> None:
        self._parts = parts
        self._owner = owner
        self._known: dict[str, Known] = {}
        """Of categories with a crowd, how far the order is right."""

    async def claim(
        self, category: str, names: Sequence[str], workers: Sequence[str], rules: str
    ) -> list[Entry]:
        """Give the next due tasks of a category to workers; fewer only if there are no more.

        None if the rules have a newer version than that by which this is right.
        """
        now = self._parts.now()  # for all: what becomes due meanwhile must not hold it up
        while True:
            known = self._known.get(category, EVERYTHING)
            claimed = await self._claim(category, names, workers, rules, now, known)
            if claimed is not None and (known is EVERYTHING or len(claimed) == len(workers)):
                return claimed
            self._known.pop(category, None)
            if claimed:  # and behind these the order is not known: the next claim sees to it
                self._parts.wake(category, None)
                return claimed
            if known is not EVERYTHING:
                continue
            promoted = await self._parts.store.promote(category, now)
            if promoted is None:  # others have them in hand
                self._parts.wake(category, now + HELD)
                known = all_known(now)
                return await self._claim(category, names, workers, rules, now, known) or []
            if promoted.is_some:
                self._known[category] = promoted

    async def _claim(
        self,
        category: str,
        names: Sequence[str],
        workers: Sequence[str],
        rules: str,
        now: datetime,
        known: Known,
    ) -> list[Entry] | None:
        return await self._parts.store.claim(
            category, names, workers, self._owner(), rules, now, known
        )
