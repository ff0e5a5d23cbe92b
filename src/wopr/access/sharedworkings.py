"""What goes on in this process's side of a fleet, for what watches it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wopr.domain.controls import Pause
from wopr.domain.rule import RuleKind
from wopr.fleet.fleet import Fleet
from wopr.fleet.parts import Observer
from wopr.ports.answers import QueryResult
from wopr.ports.storage import QueryLimits

SHARE = 20
"""An answer is given again for so many times the time that it took to find: so whoever asks all
the time, on any number of hosts, keeps a connection busy for a twentieth of theirs."""

Ask = Callable[[str, Sequence[Any], QueryLimits], Awaitable[QueryResult]]


@dataclass(slots=True)
class _Answer:
    rows: list[tuple[Any, ...]] | None
    """``None``: it took too long, or failed."""
    until: float
    found: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the question is over."""


@dataclass(eq=False, slots=True)
class SharedWorkings:
    """One host's side of a fleet from outside. Two of the same are equal."""

    _fleet: Fleet
    _ask: Ask
    _answers: dict[str, _Answer] = field(default_factory=dict)

    journal = None
    """The tables are what is durable."""
    counted = False
    """Each host counts what it does itself: to read the history of all takes too long."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SharedWorkings) and self._fleet is other._fleet

    def __hash__(self) -> int:
        return hash(self._fleet)

    @property
    def open(self) -> bool:
        """Whether it can be asked."""
        return self._fleet.open

    def now(self) -> datetime:
        """Return the time as records hold it: that of the server, UTC, without a zone."""
        return self._fleet.parts.now()

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Have somebody told of each transition of this host that is durable."""
        return self._fleet.observe(observer)

    async def query(
        self, query: str, params: Sequence[Any], limits: QueryLimits
    ) -> list[tuple[Any, ...]]:
        """Ask the tables; what was asked just now, or is being asked, is not asked again.

        Raises:
            TimeoutError: it took too long, or failed, just now.
        """
        time = asyncio.get_running_loop().time
        kept = self._answers.get(query)
        if kept is None or time() > kept.until:
            began = time()
            kept = self._answers[query] = _Answer(None, began + SHARE * limits.seconds)
            try:
                kept.rows = (await self._ask(query, params, limits)).rows
                kept.until = time() + SHARE * (time() - began)
            finally:
                kept.found.set()
        await kept.found.wait()
        if kept.rows is None:
            raise TimeoutError
        return kept.rows

    def abandoned(self) -> int:
        """Return how many functions go on although their attempt was ended."""
        return len(self._fleet.parts.around.executors.abandoned)

    def pauses(self) -> list[Pause]:
        """Return what is paused, by name, as far as this host knows."""
        return [Pause.from_rule(rule) for rule in self._fleet.rules.known(RuleKind.PAUSE)]


def shared(works: object, ask: Ask) -> SharedWorkings | None:
    """Return what goes on, if what works in this process is one side of a fleet."""
    return SharedWorkings(works, ask) if isinstance(works, Fleet) else None
