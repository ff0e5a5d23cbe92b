"""Every read about the queue's present and past, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from wopr.config.settings import Settings
from wopr.domain.logline import LogLine
from wopr.domain.snapshot import parents_of
from wopr.domain.status import CLAIMABLE, TERMINAL, Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.engine.engine import Engine
from wopr.engine.pools.pool import Pool
from wopr.engine.shared import naive_now
from wopr.ports.answers import Explanation, HistoryEntry, QueryResult, WorkerInfo, attempts
from wopr.ports.storage import QueryLimits
from wopr.running.attempt import Worker

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
        return QueryResult(await self._engine.shared.storage.query(query, params, limits))

    async def history(self, task_id: str) -> list[HistoryEntry]:
        """Return the task's transitions in order."""
        return [entry(item) for item in await self._engine.shared.storage.history(task_id)]

    async def stats(self) -> dict[str, Any]:
        """Return exact counts as plain dicts."""
        counts = await self._engine.shared.storage.counts()
        waiting = sum(counts.by_status.get(status.value, 0) for status in CLAIMABLE)
        return {
            "total": sum(counts.by_status.values()),
            "by_status": dict(counts.by_status),
            "by_category": dict(counts.by_category),
            "running": sum(len(pool.running) for pool in self._engine.pools.values()),
            "queued": waiting,
        }

    async def logs(self, task_id: str, limit: int) -> list[LogLine]:
        """Return the first lines that a task logged, in order."""
        return await self._engine.shared.storage.logs(task_id, limit)

    async def workers(self) -> list[WorkerInfo]:
        """Return the workers by category and name."""
        seen = self._engine.shared.seen_at
        return [
            _worker(worker, category, seen)
            for category, pool in sorted(self._engine.pools.items())
            for worker in sorted(pool.workers, key=lambda one: one.name)
        ]

    async def explain(self, record: TaskRecord) -> Explanation:
        """Say why the task stands where it stands."""
        if record.status in TERMINAL:
            return await self._ended(record)
        pool = self._engine.pool(record.category)
        if record.id in pool.running:
            text = f"Running: attempt {record.attempt} on worker {record.worker}."
            return Explanation(record.id, record.status, "running", text)
        if record.status not in CLAIMABLE:
            text = f"Attempt {record.attempt} is about to start, or its outcome is being stored."
            return Explanation(record.id, record.status, "starting", text)
        return await self._waiting(record)

    async def _ended(self, record: TaskRecord) -> Explanation:
        at = record.completed_at.replace(tzinfo=UTC).isoformat() if record.completed_at else "?"
        text = f"It ended {record.status.value} at {at} after {attempts(record.attempt)}."
        if record.status is TaskStatus.CANCELLED:
            moves = await self._engine.shared.storage.history(record.id)
            if moves and moves[-1].reason != Move.CANCEL.value:  # that would say nothing new
                text += f" The reason: {moves[-1].reason}."
        if record.error:
            text += f" The last error: {record.error}"
        return Explanation(record.id, record.status, "ended", text)

    async def _waiting(self, record: TaskRecord) -> Explanation:
        pool = self._engine.pool(record.category)
        now = naive_now(self._engine.shared.clock)
        ahead = 0
        if record.id in self._engine.dependents:
            found = "waiting for parents", await self._parents(record)
        else:
            because = self._not_due(record, now) or self._held(record, pool)
            if because is None:
                ahead = await self._engine.shared.storage.position(record, now)
                because = self._in_line(record, pool, now, ahead)
            found = because
        return Explanation(record.id, record.status, *found, ahead)

    def _not_due(self, record: TaskRecord, now: datetime) -> tuple[str, str] | None:
        """Say why it could not start even if nothing else was waiting."""
        if record.name not in self._engine.shared.registry.definitions:
            return "unregistered", (
                f"No function is registered under the name '{record.name}' in the process that "
                "owns the queue. It waits until one is: register it, or start the worker with the "
                "module that does."
            )
        if record.run_at is None or record.run_at <= now:
            return None
        seconds = (record.run_at - now).total_seconds()
        due = f"due at {record.run_at.replace(tzinfo=UTC).isoformat()}, in {seconds:.1f} s"
        if record.retry_count:
            return "retrying", (
                f"Retry {record.retry_count} of {record.max_retries} is {due}. "
                f"The last error: {record.error}"
            )
        return "delayed", f"It is {due}."

    def _in_line(
        self, record: TaskRecord, pool: Pool, now: datetime, ahead: int
    ) -> tuple[str, str]:
        """Say what a due task waits for."""
        if not pool.workers:
            return "no workers", (
                f"Category '{record.category}' has no workers in the process that owns the queue: "
                f"queue.start_workers('{record.category}', 4), or "
                f"wopr worker module:queue -c {record.category}:4"
            )
        if not pool.accepting:
            return "shutting down", "The queue is shutting down and starts nothing."
        limited = None if pool.gate is None else pool.gate.why(record, now)
        if limited is not None:
            return "limited", (
                f"A limit holds it back: {limited}. `wopr limits list` shows all limits."
            )
        return "queued", (
            f"It is behind {ahead} tasks of category '{record.category}'; "
            f"{len(pool.running)} of {len(pool.workers)} workers are busy."
        )

    def _held(self, record: TaskRecord, pool: Pool) -> tuple[str, str] | None:
        """Say what an operator, or the foreground, holds back."""
        pause = self._engine.control.pause_of(record)
        if pause is not None:
            what = "its category" if pause.category is not None else "its name"
            option = pause.category if pause.category is not None else f"--task {pause.task}"
            return "paused", (
                f"Tasks of {what} are paused since {pause.since.isoformat()} ({pause.reason}). "
                f"To go on: wopr resume {option}"
            )
        if pool.background and self._engine.shared.foreground.active:
            return "foreground", (
                f"Category '{record.category}' is in the background, and something in the "
                "foreground is being done now (queue.foreground())."
            )
        if pool.holds:
            return "limits", "The limits of its category are being changed; it starts after that."
        return None

    async def _parents(self, record: TaskRecord) -> str:
        """Name the parents that a task waits for."""
        parents = parents_of(record)
        storage = self._engine.shared.storage
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
