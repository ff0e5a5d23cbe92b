"""Whether work flows on all hosts together, and why not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC
from typing import Any

from wopr.domain.controls import Pause
from wopr.domain.facts import Facts, Live
from wopr.domain.rule import RuleKind
from wopr.domain.standing import View
from wopr.domain.why import reasons
from wopr.fleet.fleet import Fleet
from wopr.fleet.workers import workers_of
from wopr.ports.status import Kept, Status, headline, state_of
from wopr.storage.postgres import statements

MOST_NAMES = 1_000


class StatusOf:
    """Says how the fleet is doing."""

    def __init__(
        self,
        fleet: Fleet,
        schedules: Callable[[], Awaitable[list[View]]],
        kept: Callable[[], Kept | None],
        past: Callable[[Sequence[View]], Awaitable[tuple[dict[str, Any], tuple[str, ...]]]],
    ) -> None:
        self._fleet = fleet
        self._schedules = schedules
        self._kept = kept
        """Tells which old tasks leave by which rules of this host."""
        self._past = past
        """Tells what is known of the past, and what could not be found out."""

    async def status(self, *, brief: bool = False) -> Status:
        """Return whether work flows, and why not.

        Args:
            brief: leave out what is compared with the past.
        """
        facts = await self.facts(brief=brief)
        found = reasons(facts)
        waiting = sum(one.waiting for one in facts.live)
        due = sum(one.due for one in facts.live)
        running = sum(one.running for one in facts.live)
        workers = sum(facts.workers.values())
        state = state_of(found)
        return Status(
            state=state,
            text=headline(state, waiting=waiting, due=due, running=running, workers=workers),
            reasons=found,
            database=facts.database,
            moment=facts.now.replace(tzinfo=UTC),
            owner=facts.owner,
            waiting=waiting,
            due=due,
            running=running,
            workers=workers,
            kept=self._kept(),
        )

    async def facts(self, *, brief: bool = False) -> Facts:
        """Return what the tables say of all hosts."""
        fleet, connections = self._fleet, self._fleet.parts.store.connections
        now = fleet.parts.now()
        workers = Counter(one.category for one in await workers_of(fleet))
        rows = await connections.rows(statements.LIVE_BY_NAME, now=now, most=MOST_NAMES)
        live = tuple(Live(*row) for row in rows)
        registry = fleet.parts.registry
        unfound = {one.name for one in live} - registry.definitions.keys()
        pauses = await fleet.rules.all(RuleKind.PAUSE)
        schedules = tuple(await self._schedules())
        past, unanswered = ({}, ()) if brief else await self._past(schedules)
        kept = self._kept()
        return Facts(
            now=now,
            database=str(connections.address),
            owner=os.getpid(),
            stopping=fleet.stopping,
            workers=dict(workers),
            registered=frozenset(registry.definitions) if fleet.pools else _anything(live),
            unfound={name: registry.missing(name) for name in unfound},
            live=live,
            pauses=tuple(map(Pause.from_rule, pauses)),
            standing_back=frozenset(),
            limits=(),
            refused=(),
            unfit=dict(await connections.rows(statements.UNFIT_COUNTS)),
            stuck=(),
            schedules=schedules,
            disk=None,
            behind=None,
            storage=None,
            overdue=None if kept is None else kept.trouble,
            unanswered=unanswered,
            **past,
        )


def _anything(live: tuple[Live, ...]) -> frozenset[str]:
    """Return all names: who has no workers does not know what those of other hosts can run."""
    return frozenset(one.name for one in live)
