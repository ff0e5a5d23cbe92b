"""Every read about the queue's present and past, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from wopr.domain.logline import LogLine
from wopr.domain.status import CLAIMABLE, TaskStatus
from wopr.engine.engine import Engine
from wopr.insights.explain import Explaining
from wopr.insights.own import is_own, is_past
from wopr.ports.answers import HistoryEntry, QueryResult, WorkerInfo, entry
from wopr.ports.storage import QueryLimits, Snapshot
from wopr.running.attempt import Worker


class Insights:
    """Questions to one engine. Writes nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.explain = Explaining(engine).explain

    async def sql(self, query: str, params: Sequence[Any], limits: QueryLimits) -> QueryResult:
        """Run one read-only query within the limits of whoever asks."""
        limits = replace(limits, own=is_own(query), whole=is_past(query))
        return QueryResult(await self._engine.shared.storage.query(query, params, limits))

    async def snapshot(self, *, own: bool = False) -> Snapshot:
        """Return a copy of the database to ask in another process."""
        return await self._engine.shared.storage.snapshot(own=own)

    async def history(self, task_id: str) -> list[HistoryEntry]:
        """Return the task's transitions in order; also of one that was archived."""
        storage = self._engine.shared.storage
        found = await storage.history(task_id)
        if not found and (record := await storage.archived(task_id)) is not None:
            found = await storage.archived_history(record)
        return [entry(item) for item in found]

    async def stats(self) -> dict[str, Any]:
        """Return exact counts as plain dicts, all of one moment: that of the storage's answer."""
        counts = await self._engine.shared.storage.counts()
        waiting = sum(counts.by_status.get(status.value, 0) for status in CLAIMABLE)
        stats = {
            "total": sum(counts.by_status.values()),
            "by_status": dict(counts.by_status),
            "by_category": dict(counts.by_category),
            "running": counts.by_status.get(TaskStatus.STARTED.value, 0),
            "queued": waiting,
        }
        held = [*self._refused(), *self._unfit()]
        return {**stats, "held": held} if held else stats

    def _refused(self) -> list[dict[str, Any]]:
        refusals = self._engine.shared.refusals
        return [
            {"reason": "refused", "tasks": refusals.names(one), "text": str(one)}
            for one in refusals
        ]

    def _unfit(self) -> list[dict[str, Any]]:
        return [
            {
                "reason": "does not fit",
                "tasks": [name],
                "count": count,
                "text": f"Tasks '{name}' that do not fit the function of this name: {count}.",
            }
            for name, count in self._engine.unfit.counts.items()
        ]

    async def logs(self, task_id: str, limit: int) -> list[LogLine]:
        """Return the first lines that a task logged, in order; also of one that was archived."""
        storage = self._engine.shared.storage
        if found := await storage.logs(task_id, limit):
            return found
        if await storage.get(task_id) is None:
            record = await storage.archived(task_id)
            found = [] if record is None else await storage.archived_logs(record, limit)
        return found

    async def workers(self) -> list[WorkerInfo]:
        """Return the workers by category and name."""
        seen = self._engine.shared.seen_at
        return [
            _worker(worker, category, seen)
            for category, pool in sorted(self._engine.pools.items())
            for worker in sorted(pool.workers, key=lambda one: one.name)
        ]


def _worker(worker: Worker, category: str, seen: datetime) -> WorkerInfo:
    attempt = worker.attempt
    heartbeat, claimed = seen.replace(tzinfo=UTC), worker.last_claim_at
    last_claim_at = None if claimed is None else claimed.replace(tzinfo=UTC)
    if attempt is None:
        return WorkerInfo(
            name=worker.name,
            category=category,
            last_claim_at=last_claim_at,
            heartbeat_at=heartbeat,
        )
    record = attempt.record
    return WorkerInfo(
        name=worker.name,
        category=category,
        task_id=record.id,
        task_name=record.name,
        attempt=attempt.number,
        since=None if record.started_at is None else record.started_at.replace(tzinfo=UTC),
        last_claim_at=last_claim_at,
        heartbeat_at=heartbeat,
    )
