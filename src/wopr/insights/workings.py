"""What goes on in one engine, for what watches it: metrics, health, the logs of tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wopr.domain.clock import naive_now
from wopr.domain.controls import Pause
from wopr.domain.logline import LogLine
from wopr.domain.rule import RuleKind
from wopr.engine.engine import Engine
from wopr.engine.shared import Observer
from wopr.executors.context import CurrentTask
from wopr.ports.storage import JournalState, QueryLimits, Storage


@dataclass(frozen=True, slots=True)
class Workings:
    """One engine from outside. Two of the same engine are equal."""

    _engine: Engine
    counted = True
    """Whether its history is read, so that numbers begin with it."""

    @property
    def open(self) -> bool:
        """Whether it can be asked."""
        return self._engine.open

    @property
    def stopping(self) -> bool:
        """Whether a shutdown was asked for."""
        return self._engine.stopping

    @property
    def storage(self) -> Storage:
        """Where its tasks are stored."""
        return self._engine.shared.storage

    @property
    def journal(self) -> JournalState | None:
        """How far the tables are behind the journal; ``None`` where there is none."""
        return self.storage.journal

    async def query(
        self, query: str, params: Sequence[Any], limits: QueryLimits
    ) -> list[tuple[Any, ...]]:
        """Ask the tables."""
        return (await self.storage.query(query, params, limits)).rows

    def now(self) -> datetime:
        """Return the time as records hold it: UTC, without a zone."""
        return naive_now(self._engine.shared.clock)

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Have somebody told of each transition that is on disk; return what ends that.

        On the event loop, in order, before anything else is done there.
        """
        observers = self._engine.shared.observers
        observers.append(observer)
        return lambda: observers.remove(observer)

    def runs(self, task: CurrentTask) -> bool:
        """Whether it runs this attempt now; in any thread."""
        pool = self._engine.pools.get(task.category)
        attempt = None if pool is None else pool.running.get(task.id)
        return attempt is not None and attempt.context is task

    def save_logs(self, lines: Sequence[LogLine]) -> None:
        """Store lines that tasks logged when the storage has time; too many are dropped."""
        self.storage.save_logs(lines)

    def abandoned(self) -> int:
        """Return how many functions go on although their attempt was ended."""
        return len(self._engine.shared.surroundings.executors.abandoned)

    def pauses(self) -> list[Pause]:
        """Return what is paused, by name."""
        return [Pause.from_rule(rule) for rule in self._engine.rules.of(RuleKind.PAUSE)]
