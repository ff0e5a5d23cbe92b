"""The verbs of a queue over the engine of this process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from wopr.access.noted import NotedScheduler
from wopr.domain.errors import TaskNotFoundError
from wopr.domain.task import TaskRecord
from wopr.engine.engine import Engine
from wopr.insights.groups import ExplainingGroups
from wopr.insights.insights import Insights
from wopr.insights.status import StatusOf
from wopr.ports.answers import Explanation
from wopr.ports.backend import AtOnce

Staff = Callable[[str, int], Awaitable[int]]
"""Adds workers of a category to those of this process; gives how many it has then."""


class LocalBackend:
    """The verbs over the engine in this process."""

    def __init__(self, engine: Engine, staff: Staff) -> None:
        self.engine = engine
        self._staff = staff
        self.schedules = NotedScheduler(engine)
        self._insights = Insights(engine)
        self.add = engine.add
        self.add_many = engine.add_many
        self.check_room = engine.check_room
        self.add_flow = engine.add_flow
        self.find = engine.find
        self.wait = engine.wait
        self.cancel = engine.cancel
        self.retry = engine.retry
        self.rules = engine.rule_acts
        self.acts = engine.acts
        self.revoke = engine.revoke
        self.workers = self._insights.workers
        self.recover = engine.recover
        self.stats = self._insights.stats
        self.history = self._insights.history
        self.logs = self._insights.logs
        self.sql = self._insights.sql
        self.snapshot = self._insights.snapshot
        self.backup = engine.shared.storage.backup
        self.archive = engine.keeping.archive
        status = StatusOf(engine, self.schedules)
        self.status = status.status
        self.explain_group = ExplainingGroups(
            engine, self._insights.explain, status, self.schedules
        ).explain

    @property
    def at_once(self) -> AtOnce | None:
        """What hands new tasks over without waiting; ``None``: they go through something else."""
        return self.engine.adding if self.add is self.engine.add else None

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return a task; also one that was archived."""
        record = await self.engine.get(task_id)
        return record or await self.engine.shared.storage.archived(task_id)

    async def add_workers(self, category: str, count: int) -> int:
        """Add workers of a category to those that run here; return how many it has."""
        total = await self._staff(category, count)
        detail = {"added": count, "workers": total}
        await self.engine.book.note("add-workers", {"category": category}, detail, changed=count)
        return total

    async def cleanup(self, before: datetime, *, keep_history: bool) -> int:
        """Delete terminal tasks completed before a moment."""
        async with self.engine.acts.deleting:
            count = await self.engine.shared.storage.cleanup(before, keep_history=keep_history)
        if count:
            said = {"completed until": before.isoformat(), "keep_history": keep_history}
            await self.engine.book.note("cleanup", said, {}, changed=count)
        return count

    async def explain(self, task_id: str) -> Explanation:
        """Say why a task stands where it stands."""
        record = await self.get(task_id)
        if record is None:
            raise TaskNotFoundError(f"There is no task {task_id!r} in this queue.")
        return await self._insights.explain(record)
