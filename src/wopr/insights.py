"""Every read about the queue's present and past, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from wopr.config import Settings
from wopr.domain.snapshot import parents_of
from wopr.domain.status import CLAIMABLE, TERMINAL
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.engine.engine import Engine
from wopr.engine.services import naive_now
from wopr.ports.storage import QueryLimits
from wopr.results import Explanation, HistoryEntry, QueryResult, attempts

_NAMED = 5
"""How many of the tasks that it waits for an explanation names."""


class Insights:
    """Questions to one engine. Writes nothing."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings

    async def sql(self, query: str, params: Sequence[Any]) -> QueryResult:
        """Run one read-only query within the limits of the settings."""
        limits = QueryLimits(self._settings.query_seconds, self._settings.query_rows)
        return QueryResult(await self._engine.services.storage.query(query, params, limits))

    async def history(self, task_id: str) -> list[HistoryEntry]:
        """Return the task's transitions in order."""
        return [entry(item) for item in await self._engine.services.storage.history(task_id)]

    async def stats(self) -> dict[str, Any]:
        """Return exact counts as plain dicts."""
        counts = await self._engine.services.storage.counts()
        waiting = sum(counts.by_status.get(status.value, 0) for status in CLAIMABLE)
        return {
            "total": sum(counts.by_status.values()),
            "by_status": dict(counts.by_status),
            "by_category": dict(counts.by_category),
            "running": sum(len(pool.running) for pool in self._engine.pools.values()),
            "queued": waiting,
        }

    async def explain(self, record: TaskRecord) -> Explanation:
        """Say why the task stands where it stands."""
        if record.status in TERMINAL:
            return _ended(record)
        pool = self._engine.pool(record.category)
        if record.id in pool.running:
            worker = pool.running[record.id].worker
            text = f"Running: attempt {record.attempt} on worker {worker}."
            return Explanation(record.id, record.status, "running", text)
        if record.status not in CLAIMABLE:
            text = f"Attempt {record.attempt} is about to start, or its outcome is being stored."
            return Explanation(record.id, record.status, "starting", text)
        return await self._waiting(record)

    async def _waiting(self, record: TaskRecord) -> Explanation:
        pool = self._engine.pool(record.category)
        now = naive_now(self._engine.services.clock)

        def because(reason: str, text: str, ahead: int = 0) -> Explanation:
            return Explanation(record.id, record.status, reason, text, ahead)

        if record.id in self._engine.dependents:
            return because("waiting for parents", await self._parents(record))
        if record.name not in self._engine.services.registry.definitions:
            return because(
                "unregistered",
                f"No function is registered under the name '{record.name}' in the process that "
                "owns the queue. It waits until one is: register it, or start the worker with the "
                "module that does.",
            )
        if record.run_at is not None and record.run_at > now:
            seconds = (record.run_at - now).total_seconds()
            due = f"due at {record.run_at.replace(tzinfo=UTC).isoformat()}, in {seconds:.1f} s"
            if record.retry_count:
                return because(
                    "retrying",
                    f"Retry {record.retry_count} of {record.max_retries} is {due}. "
                    f"The last error: {record.error}",
                )
            return because("delayed", f"It is {due}.")
        ahead = await self._engine.services.storage.position(record, now)
        if not pool.workers:
            return because(
                "no workers",
                f"Category '{record.category}' has no workers in the process that owns the queue: "
                f"queue.start_workers('{record.category}', 4), or "
                f"wopr worker module:queue -c {record.category}:4",
                ahead,
            )
        if not pool.accepting:
            return because("shutting down", "The queue is shutting down and starts nothing.", ahead)
        busy = len(pool.running)
        return because(
            "queued",
            f"It is behind {ahead} tasks of category '{record.category}'; "
            f"{busy} of {len(pool.workers)} workers are busy.",
            ahead,
        )

    async def _parents(self, record: TaskRecord) -> str:
        """Name the parents that a task waits for."""
        parents = parents_of(record)
        storage = self._engine.services.storage
        statuses = await storage.statuses(parents)
        left = [one for one in parents if statuses.get(one) not in TERMINAL]
        if not left:
            return f"Its {len(parents)} parents have ended; it is about to be released."
        known = await storage.get_many(left[:_NAMED])
        names = [
            f"{one} ({known[one].name}, {known[one].status.value})" for one in left if one in known
        ]
        more = f" and {len(left) - len(names)} more" if len(left) > len(names) else ""
        return f"It waits for {len(left)} of its {len(parents)} parents: {', '.join(names)}{more}."


def _ended(record: TaskRecord) -> Explanation:
    at = record.completed_at.replace(tzinfo=UTC).isoformat() if record.completed_at else "?"
    text = f"It ended {record.status.value} at {at} after {attempts(record.attempt)}."
    if record.error:
        text += f" The last error: {record.error}"
    return Explanation(record.id, record.status, "ended", text)


def entry(transition: Transition) -> HistoryEntry:
    """Return a transition as people see it."""
    data = transition.data or {}
    occurred_at: datetime = transition.occurred_at.replace(tzinfo=UTC)
    return HistoryEntry(
        transition.seq,
        transition.task_id,
        transition.attempt,
        transition.from_status,
        transition.to_status,
        occurred_at,
        transition.worker,
        transition.reason,
        transition.error,
        data.get("error_type"),
        data.get("traceback"),
    )
