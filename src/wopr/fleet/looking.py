"""What a host asks the tables now and then: all that nobody may have called out, in one question.

An idle host asks once a second, and once more each time that it renews its lease.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from wopr.fleet.claiming import Claiming
from wopr.fleet.owner import LEASE_SECONDS, Owner
from wopr.fleet.parts import Parts
from wopr.fleet.pool import FleetPool
from wopr.fleet.rules import FleetRules
from wopr.storage.postgres import looks, statements

log = logging.getLogger(__name__)

PATIENCE = LEASE_SECONDS / 3
"""Seconds after which a look is given up: there is another one."""
FRESH_SECONDS = 3.0
"""So long a look counts for who asks whether a schedule is due."""


@dataclass(slots=True)
class Host:
    """What looks need of this host."""

    pools: Mapping[str, FleetPool]
    owner: Owner
    rules: FleetRules
    claiming: Claiming
    outcomes: Callable[[], set[str]]
    """Tells which tasks' outcomes are not written yet."""
    let_go: Callable[[str], None]
    """Stops what runs of a task that is not this host's any more."""


class Looking:
    """Looks at the tables, for all categories at once."""

    def __init__(self, parts: Parts, host: Host) -> None:
        self._parts = parts
        self._host = host
        self._next_fire: datetime | None = None
        self._looked_at = float("-inf")

    # -- once a second ------------------------------------------------------------

    async def look(self) -> None:
        """See what is due, what was taken from this host, and whether rules have changed."""
        pools = {} if self._parts.stopping else self._host.pools
        running = self.running(None)
        sent, now = self._parts.around.loop.time(), self._parts.now()
        asked = self._parts.clock.monotonic()
        rows = await self._parts.store.connections.rows_within(
            PATIENCE,
            looks.LOOK,
            categories=list(pools),
            now=now,
            ids=list(running),
            versions=list(running.values()),
        )
        at, rules, next_fire, stale = rows[0][:4]
        self._look_at_time(at, asked)
        self._next_fire, self._looked_at = next_fire, sent
        self._stop(stale, running)
        if rules != self._host.rules.version:
            await self._host.rules.load()
        for _, _, _, _, category, due, next_at in rows:
            if (pool := pools.get(category)) is None:
                continue
            pool.runs.look()
            if due:
                pool.wake()
            if next_at is not None:
                pool.wake(next_at)

    async def look_at_time(self) -> None:
        """See what time it is at the server, as exactly as that can be known."""
        asked = self._parts.clock.monotonic()
        [(at,)] = await self._parts.store.connections.rows(statements.NOW)
        self._look_at_time(at, asked)

    def _look_at_time(self, server: datetime, asked: float) -> None:
        clock = self._parts.clock  # whose seconds go on while a machine is suspended
        off = clock.look(server.astimezone(UTC), clock.monotonic() - asked)
        if off is not None:
            log.warning(
                "The clock of this host is off by %.1f s; the server's counts.", off.total_seconds()
            )

    def nothing_fires(self, now: datetime) -> bool:
        """Whether a look of some moments ago says that no schedule is due yet."""
        if self._parts.around.loop.time() - self._looked_at > FRESH_SECONDS:
            return False
        return self._next_fire is None or self._next_fire > now

    def forget_schedules(self) -> None:
        """Know no more when the next one fires: they have changed."""
        self._looked_at = float("-inf")

    # -- what runs here -------------------------------------------------------------

    def running(self, ids: Iterable[str] | None) -> dict[str, int]:
        """Return the versions of the tasks that run here, of those."""
        wanted = None if ids is None else set(ids)
        return {
            task_id: attempt.record.version
            for pool in self._host.pools.values()
            for task_id, attempt in pool.running.items()
            if wanted is None or task_id in wanted
        }

    async def look_at_running(self, ids: Iterable[str]) -> None:
        """Stop what runs here of those, and is not this host's any more."""
        running = self.running(ids)
        if running:
            self._stop(await self._parts.store.stale(running), running)

    def _stop(self, stale: Iterable[str], running: Mapping[str, int]) -> None:
        for task_id in stale:
            if self.running([task_id]).get(task_id) == running[task_id]:
                self._host.let_go(task_id)

    def _here(self) -> set[str]:
        """Return the tasks whose functions go on here, in a worker or stopped."""
        runs = [pool.runs for pool in self._host.pools.values()]
        unwinding = {attempt.record.id for one in runs for attempt in one.unwinding}
        return unwinding.union(*(one.running for one in runs))

    # -- seldom ---------------------------------------------------------------------

    async def look_around(self) -> None:
        """See what other hosts have left, what nobody runs, and what is too late to start."""
        owner = self._host.owner
        rows = await self._parts.store.connections.rows_within(
            PATIENCE,
            looks.LOOK_AROUND,
            owner=owner.id,
            categories=list(self._host.pools),
            now=self._parts.now(),
            lease=LEASE_SECONDS,
        )
        left, gone, owned, versions, expired = rows[0]
        if left and owner.may_recover():
            await owner.recover(None)
        elif gone:
            await owner.forget()
        here = self._host.outcomes() | self._here()
        mine = dict(zip(owned, versions, strict=True))
        await owner.put_back({one: mine[one] for one in mine if one not in here})
        if not self._parts.stopping:
            for category in expired:
                await self._host.claiming.refuse(category)
