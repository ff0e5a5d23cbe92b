"""The calls of the storage that find the tasks of a selection."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from wopr.domain.act import Tally
from wopr.domain.change import Takes
from wopr.domain.errors import QueryError
from wopr.domain.selection import Selection
from wopr.domain.task import TaskRecord
from wopr.ports.selecting import Found
from wopr.ports.storage import QueryLimits
from wopr.storage.duckdb import reads, selecting
from wopr.storage.duckdb.asking import AskCalls

MOST_MATCHES = 1_000_000
"""So many tasks a condition of people's may hold for."""


class SelectCalls(AskCalls):
    """Each brings ``tasks`` up to everything submitted before, then reads."""

    async def tally(self, which: Selection, takes: Takes, seconds: float) -> list[Tally]:
        """Count what is selected, by name and status."""
        among = await self._among(which, seconds)
        await self._up_to_date()
        # Not in the engine's own reader, which it would keep for as long as that takes.
        limits, until = QueryLimits(seconds, own=True), time.monotonic() + seconds
        return await self._again.ask(
            lambda: self._asked(
                lambda cursor: selecting.tally(cursor, which, takes, among), until, limits
            )
        )

    async def select(
        self,
        which: Selection,
        takes: Takes | None,
        limit: int,
        seconds: float,
        *,
        after: int = 0,
        unless_again_since: int | None = None,
    ) -> list[Found]:
        """Return selected tasks that a verb takes, in enqueue order."""
        among = await self._among(which, seconds)
        return await self._read(
            lambda cursor: selecting.select(
                cursor, which, takes, limit, after, unless_again_since, among
            )
        )

    async def selected(
        self, which: Selection, limit: int, before: int | None, seconds: float
    ) -> list[TaskRecord]:
        """Return a page of the selected tasks, newest first."""
        among = await self._among(which, seconds)
        return await self._read(
            lambda cursor: selecting.newest(cursor, which, limit, before, among)
        )

    async def _among(self, which: Selection, seconds: float) -> list[int] | None:
        """Return the numbers of the tasks that a condition of people's holds for."""
        where = which.where
        if where is None:
            return None
        limits = QueryLimits(seconds, MOST_MATCHES, 64 * 1024 * 1024)
        until, own = time.monotonic() + seconds, replace(limits, own=True)  # it is only read
        await self._asked(lambda cursor: selecting.check_condition(cursor, where), until, own)
        found = await self.query(selecting.people_ask(where), [], limits)
        if found.cut is not None:
            raise QueryError(
                f"The condition {where!r:.200} holds for more than {MOST_MATCHES:,} tasks. Say "
                "more of it with name=, category=, status=, since= or until=, or narrow it."
            )
        return [seq for (seq,) in found.rows]

    async def beginnings(self, prefixes: Sequence[str], limit: int) -> dict[str, list[str]]:
        """Return for each of these the ids that begin so."""
        return await self._read(lambda cursor: selecting.beginnings(cursor, prefixes, limit))

    async def stored(self, ids: Sequence[str]) -> dict[str, TaskRecord]:
        """Return those of the tasks that there are.

        What is not folded yet is in memory, and is looked up first: so nothing has to be folded.
        """
        self._check()
        known = self._folding.pending.row
        dirty = {one: known(one) for one in ids}
        found = {one: TaskRecord.from_row(row) for one, row in dirty.items() if row is not None}
        rest = [one for one in ids if one not in found]
        if rest:
            found |= await self._ask(self._reader, lambda cursor: reads.get_many(cursor, rest))
        return found
