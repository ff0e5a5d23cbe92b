"""Which tasks start here next: the database says so, in the statement that claims them.

Where each task has to be looked at, because of a limit, a revocation or a time by which it is
too late, a transaction looks first. What a limit counts is counted in it, while no other host can
claim in that category: so it is exact, however many there are.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from wopr.calls.revoking import arguments_of, is_about
from wopr.domain import decide
from wopr.domain.due import is_expired
from wopr.domain.limits import Limit, Meter, value_of
from wopr.domain.place import FIRST, place
from wopr.domain.status import Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.fleet.changing import Changing
from wopr.fleet.parts import Parts
from wopr.fleet.promoting import Promoting
from wopr.fleet.releasing import Releasing
from wopr.fleet.rules import FleetRules
from wopr.ports.storage import Entry
from wopr.storage.postgres import statements
from wopr.storage.postgres.promotion import EVERYTHING, MOST, Known, known_by
from wopr.storage.postgres.store import records

PAGE = 500
MOST_PAGES = 20
"""So many pages of what may not start are looked at for something that may."""
_HIGHEST = 1_000


class Claiming:
    """Claims for the workers of this host."""

    def __init__(
        self,
        parts: Parts,
        rules: FleetRules,
        changing: Changing,
        releasing: Releasing,
        owner: Callable[[], int],
    ) -> None:
        self._parts = parts
        self._rules = rules
        self._changing = changing
        self._releasing = releasing
        self._owner = owner
        self._promoting = Promoting(parts, owner)

    async def claim(self, category: str, workers: Sequence[str]) -> list[Entry]:
        """Give the next due tasks of a category to workers, at most one to each."""
        limits, version = self._limits(category), self._rules.version
        if limits:
            return await self._looked_at(category, workers, limits, version)
        revoked = self._rules.revoked
        names = [name for name in self._parts.registry.definitions if name not in revoked]
        claimed = await self._promoting.claim(category, names, workers, version)
        if len(claimed) < len(workers) and revoked:
            claimed += await self._looked_at(category, workers[len(claimed) :], [], version)
        return claimed

    async def why(self, record: TaskRecord) -> str | None:
        """Say which limit holds a task back that is due; ``None`` if none does."""
        limits = self._limits(record.category)
        if not limits:
            return None
        look = _Look(self._parts, record.category, [], limits, self._refusal)

        async def work(connection: Any) -> None:
            look.begin()
            await look.measure(connection)

        await self._parts.store.connections.run(work)
        return look.why(record)

    async def refuse(self, category: str) -> None:
        """Cancel what is due and may not start any more, though no worker is free."""
        await self._looked_at(category, [], self._limits(category), self._rules.version)

    def _limits(self, category: str) -> list[Limit]:
        limits = self._rules.limits.get(category, [])
        return [one for one in limits if one.concurrency is not None or one.rate is not None]

    async def _looked_at(
        self, category: str, workers: Sequence[str], limits: Sequence[Limit], version: str
    ) -> list[Entry]:
        """Look at what is due; ``version`` of the rules has these limits, and no newer counts."""
        look = _Look(self._parts, category, workers, limits, self._refusal)

        async def work(connection: Any) -> list[Entry]:
            look.begin()
            if limits and workers:
                await connection.execute(statements.MEASURED, {"what": category})
                await look.measure(connection)
            owner = self._owner()
            known = {"owner": owner, "rules": version}
            held = await (await connection.execute(statements.HOLDS, known)).fetchall()
            if not held:
                return []
            await look.at_all(connection, list(self._rules.revoked))
            done = await self._releasing.change(connection, look.entries)
            ids = [one.id for one, made in done if made.to_status is TaskStatus.STARTED]
            keys = [look.keys.get(one) for one in ids]
            await connection.execute(statements.OWN, {"owner": owner, "ids": ids, "keys": keys})
            return done

        connections = self._parts.store.connections

        async def whole(connection: Any) -> list[Entry]:
            async with connection.transaction():
                return await work(connection)

        done = await connections.run(whole)
        if look.next_at is not None:
            self._parts.wake(category, look.next_at)
        claimed = [one for one in done if one[1].to_status is TaskStatus.STARTED]
        self._changing.tell([one for one in done if one[1].to_status is not TaskStatus.STARTED])
        return claimed

    def _refusal(self, record: TaskRecord, now: datetime) -> str | None:
        """Return why a task may not start any more; ``None`` if it may."""
        if is_expired(record, now):
            return "expired"
        for revocation in self._rules.revoked.get(record.name, ()):
            if is_about(self._parts.registry, revocation, record):
                return revocation.reason
        return None


class _Look:
    """One look at what is due in a category."""

    def __init__(
        self,
        parts: Parts,
        category: str,
        workers: Sequence[str],
        limits: Sequence[Limit],
        refusal: Callable[[TaskRecord, datetime], str | None],
    ) -> None:
        self._parts = parts
        self._category = category
        self._workers = workers
        self._limits = limits
        self._refusal = refusal
        self.begin()

    def begin(self) -> None:
        """Begin anew."""
        self.entries: list[Entry] = []
        self.next_at: datetime | None = None
        self._now = self._parts.now()
        self._left = list(reversed(self._workers))
        self._meters: dict[tuple[str, str], Meter] = {}
        self._anyones: dict[tuple[str, str], Meter] = {}
        """What is of a value that this host can't know, by limit."""
        self._measured = False
        self.keys: dict[str, str] = {}
        """Of what is claimed, for hosts without its function: JSON by id."""

    async def measure(self, connection: Any) -> None:
        """Count what runs and what has started."""
        where = {"category": self._category}
        rows = await (await connection.execute(statements.RUNS, where)).fetchall()
        for name, args, kwargs, keys in rows:
            for meter in self._of(name, args, kwargs, keys):
                meter.running += 1
        periods = [one.per for one in self._limits if one.per is not None]
        if periods:
            since = self._now - timedelta(seconds=max(periods))
            cursor = await connection.execute(statements.STARTS, {**where, "since": since})
            for name, args, kwargs, keys, at in await cursor.fetchall():
                for meter in self._of(name, args, kwargs, keys):
                    meter.starts.append(at)
        for (name, _), meter in self._meters.items():
            self._add_anyones(name, meter)
        self._measured = True

    def _of(self, name: str, args: str, kwargs: str, keys: str | None = None) -> list[Meter]:
        """Return the meters that count a task.

        Args:
            name: of the task.
            args: JSON.
            kwargs: JSON.
            keys: what the keys of limits were when it was claimed, as whoever did it says.
        """
        keyed = any(one.key is not None for one in self._limits)
        known = arguments_of(self._parts.registry, name, args, kwargs) if keyed else None
        arguments = {} if known is None else known
        told = None
        if keyed and name not in self._parts.registry.definitions:
            told = {} if keys is None else json.loads(keys)
        found = []
        for limit in self._limits:
            if told is None or limit.key is None or limit.task not in (None, name):
                value = value_of(limit, name, arguments)
                meters = self._meters
            elif limit.name in told:
                value, meters = told[limit.name], self._meters
            else:  # nobody said: it counts for each value, so that there are never too many
                value, meters = "", self._anyones
            if value is not None:
                found.append(self._meter(meters, limit, value))
        return found

    def _meter(self, meters: dict[tuple[str, str], Meter], limit: Limit, value: str) -> Meter:
        key = limit.name, value
        meter = meters.get(key)
        if meter is None:
            meter = meters[key] = Meter(limit, value)
            if self._measured:
                self._add_anyones(limit.name, meter)
        return meter

    def _add_anyones(self, name: str, meter: Meter) -> None:
        """Count for a value what may be of any."""
        anyones = self._anyones.get((name, ""))
        if anyones is not None and meter.limit.key is not None:
            meter.running += anyones.running
            meter.starts = deque(sorted([*meter.starts, *anyones.starts]))

    async def at_all(self, connection: Any, revoked: Sequence[str]) -> None:
        """Look at what is due in its order, until no worker is free."""
        known = await self._promote(connection)
        values: dict[str, Any] = {
            "category": self._category,
            "now": self._now,
            "names": list(self._parts.registry.definitions),
            "revoked": list(revoked),
            "looked_after": not self._limits,
            "priority": _HIGHEST,
            "place": FIRST,
            "most": PAGE,
        }
        for _ in range(MOST_PAGES):
            cursor = await connection.execute(statements.CANDIDATES, values)
            page = records(await cursor.fetchall())
            in_order = [one for one in page if known.has(one.priority, place(one))]
            for record in in_order:
                self._look(record)
            if len(in_order) < PAGE or not self._left:
                break
            values |= {"priority": page[-1].priority, "place": place(page[-1])}
        if known.is_some and self._left:
            self.next_at = self._now  # there are others behind

    async def _promote(self, connection: Any) -> Known:
        """Have those whose time has come stand in the order; return how far it is known then."""
        values = {"category": self._category, "now": self._now, "most": MOST}
        row = await (await connection.execute(statements.PROMOTE, values)).fetchone()
        return known_by(row, MOST, self._now) or EVERYTHING

    def why(self, record: TaskRecord) -> str | None:
        """Say what holds a task back, by what was counted."""
        for meter in self._of(record.name, record.args, record.kwargs):
            if meter.next_at(self._now) != self._now:
                return meter.why(self._now)
        return None

    def _look(self, record: TaskRecord) -> None:
        reason = self._refusal(record, self._now)
        if reason is not None:
            cancel = decide.move(record, Move.CANCEL, self._now, reason=reason)
            assert cancel is not None, "what waits can be cancelled"
            self.entries.append((record, cancel))
            return
        if not self._left or record.name not in self._parts.registry.definitions:
            return
        meters = self._of(record.name, record.args, record.kwargs)
        times = [meter.next_at(self._now) for meter in meters]
        later = [at for at in times if at is not None and at > self._now]
        if None in times or later:
            if None not in times:
                at = max(later)
                self.next_at = at if self.next_at is None else min(self.next_at, at)
            return
        claim = decide.claim(record, self._left.pop(), self._now)
        assert claim is not None, "what waits can be claimed"
        for meter in meters:
            meter.start(self._now)
        said = {one.limit.name: one.value for one in meters if one.limit.key is not None}
        if any(one.key is not None for one in self._limits):
            whole = {one.name: said.get(one.name) for one in self._limits if one.key is not None}
            self.keys[record.id] = json.dumps(whole)
        self.entries.append((record, claim))
