"""Selections and acts of a storage that has no tables for them: found in memory, or kept there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from wopr.domain.act import Act, Tally
from wopr.domain.change import Takes
from wopr.domain.errors import QueryError
from wopr.domain.selection import Selection, bounds, matches
from wopr.domain.snapshot import decode_options
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.ports.selecting import Found
from wopr.storage.seed.rules import SeedRules

_FAILURES = frozenset({TaskStatus.FAILED, TaskStatus.RETRY})
MOST_ACTS = 10_000
"""The oldest acts beyond that are forgotten."""


class SeedSelecting(SeedRules):
    """Finds tasks in memory; acts live as long as the process."""

    def __init__(self) -> None:
        super().__init__()
        self._acts: dict[int, Act] = {}

    async def flush(self) -> None:
        """Return when everything submitted so far was saved or refused: who saves knows."""
        raise NotImplementedError

    async def tally(self, which: Selection, takes: Takes, seconds: float) -> list[Tally]:
        """Count what is selected, by name and status."""
        counts: dict[tuple[str, TaskStatus], list[int]] = {}
        for record in await self._selected(which):
            count = counts.setdefault((record.name, record.status), [0, 0])
            count[0] += 1
            count[1] += takes.include(record)
        return [Tally(*key, *counts[key]) for key in sorted(counts)]

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
        again: set[str] = set()
        if unless_again_since is not None:
            again = {
                str(decode_options(record.options).get("again_of"))
                for record in self._records.values()
                if record.seq > unless_again_since and record.options
            }
        found = [
            Found(record.seq, record.id)
            for record in await self._selected(which)
            if record.seq > after
            and record.id not in again
            and (unless_again_since is None or record.seq <= unless_again_since)
            and (takes is None or takes.include(record))
        ]
        return found[:limit]

    async def selected(
        self, which: Selection, limit: int, before: int | None, seconds: float
    ) -> list[TaskRecord]:
        """Return a page of the selected tasks, newest first."""
        found = await self._selected(which)
        older = (one for one in reversed(found) if before is None or one.seq < before)
        return list(islice(older, limit))

    async def _selected(self, which: Selection) -> list[TaskRecord]:
        if which.where is not None:
            raise QueryError(
                "This storage has no SQL, so a condition in SQL can't be asked. Use the DuckDB "
                "storage (no storage_factory), or name=, category=, status= and so on."
            )
        await self.flush()
        failures: dict[str, str] = {}
        for made in self._log if which.error is not None else ():
            if made.to_status in _FAILURES and made.from_status is not TaskStatus.RETRY:
                failures[made.task_id] = str((made.data or {}).get("roots") or made.error or "")
        found = [
            record
            for record in self._records.values()
            if matches(which, record, failures.get(record.id, record.error))
        ]
        return sorted(found, key=lambda record: record.seq)

    async def beginnings(self, prefixes: Sequence[str], limit: int) -> dict[str, list[str]]:
        """Return for each of these the ids that begin so."""
        found: dict[str, list[str]] = {}
        for prefix in prefixes:
            first, last = bounds(prefix) or ("", "")
            found[prefix] = sorted(one for one in self._records if first <= one <= last)[:limit]
        return found

    async def save_act(self, act: Act) -> None:
        """Keep an act, new or changed."""
        self._acts[act.number] = act
        while len(self._acts) > MOST_ACTS:
            del self._acts[min(self._acts)]

    def _forget_acts(self, before: datetime) -> None:
        for number, act in list(self._acts.items()):
            if act.ended_at is not None and act.ended_at.replace(tzinfo=None) <= before:
                del self._acts[number]

    async def acts(self, limit: int, before: int | None) -> list[Act]:
        """Return the newest acts, those before a number."""
        numbers = sorted(self._acts, reverse=True)
        return [self._acts[one] for one in numbers if before is None or one < before][:limit]

    async def act(self, number: int) -> Act | None:
        """Return one act."""
        return self._acts.get(number)

    async def made_by(self, act: Act, after: int, limit: int) -> list[Transition]:
        """Return transitions that an act made, in order, after one of them."""
        found = [
            made
            for made in self._log
            if max(after, act.first_seq) < made.seq <= act.last_seq
            and (made.data or {}).get("act") == act.number
        ]
        return found[:limit]

    async def made_count(self, act: Act) -> int:
        """Return how many tasks an act has changed, or added, so far."""
        changes = (made.data for made in self._log if made.seq > act.first_seq)
        added = (
            decode_options(record.options)
            for record in self._records.values()
            if record.seq > act.first_seq and record.options
        )
        return sum((one or {}).get("act") == act.number for one in (*changes, *added))
