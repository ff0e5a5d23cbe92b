"""Why tasks stand where they stand, on all hosts: as a queue in a file says it.

They are made of what the tables say; what the memory of one engine knows there, nobody's does here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

from wopr.access.sharedasking import SharedAsking
from wopr.access.sharedschedules import SharedScheduler
from wopr.domain.standing import View
from wopr.domain.task import TaskRecord
from wopr.engine.engine import Engine
from wopr.fleet.explaining import Explaining
from wopr.fleet.fleet import Fleet
from wopr.fleet.status import StatusOf
from wopr.insights import status
from wopr.insights.before import Before
from wopr.insights.groups import ExplainingGroups
from wopr.ports.status import Kept
from wopr.ports.storage import QueryLimits, QueryRows


class SharedStanding:
    """Explains the fleet to whoever asks this host. Writes nothing."""

    def __init__(
        self,
        fleet: Fleet,
        schedules: SharedScheduler,
        asking: SharedAsking,
        kept: Callable[[], Kept | None],
    ) -> None:
        parts = fleet.parts
        reads = _Reads(fleet, asking)
        shared = SimpleNamespace(storage=reads, clock=parts.clock, registry=parts.registry, live={})
        self._engine = cast("Engine", SimpleNamespace(shared=shared, pools=fleet.pools))
        self._before = Before()
        whole = StatusOf(fleet, schedules.all, kept, self._past)
        self.status = whole.status
        self.explain = Explaining(fleet).explain
        groups = _Groups(self._engine, self.explain, cast("status.StatusOf", whole), schedules)
        self.explain_group = groups.explain

    async def _past(self, schedules: Sequence[View]) -> tuple[dict[str, Any], tuple[str, ...]]:
        return await status.compared(self._engine, schedules, self._before)


class _Groups(ExplainingGroups):
    def _nobody_works(self) -> bool:
        """Whether there are workers nowhere: the tables tell of all, so the reasons say it."""
        return False


class _Reads:
    def __init__(self, fleet: Fleet, asking: SharedAsking) -> None:
        self._store = fleet.parts.store
        self._asking = asking

    async def query(self, sql: str, params: Sequence[Any], limits: QueryLimits) -> QueryRows:
        """Ask a question of wopr's own of the tables."""
        return await self._asking.tables(sql, params, limits)

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return a task."""
        return await self._store.get(task_id)

    async def get_many(self, task_ids: Sequence[str]) -> dict[str, TaskRecord]:
        """Return those of the tasks that there are."""
        return await self._store.get_many(task_ids)
