"""Why a task stands where it stands."""

from __future__ import annotations

import shlex
from datetime import datetime

from wopr.calls.waits import on_failure_of
from wopr.domain.clock import naive_now
from wopr.domain.newtask import OnParentFailure
from wopr.domain.snapshot import parents_of
from wopr.domain.spoken import age, counted, local
from wopr.domain.status import CLAIMABLE, TERMINAL, Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.engine.engine import Engine
from wopr.engine.pools.pool import Pool
from wopr.ports.answers import Because, Explanation, attempts

_NAMED = 5
"""How many of the tasks that it waits for an explanation names."""


class Explaining:
    """Explains the tasks of one engine. Writes nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def explain(self, record: TaskRecord) -> Explanation:
        """Say why the task stands where it stands."""
        self._engine.look_at_clock()
        because, ahead = await self._because(record)
        if record.status not in TERMINAL and (told := self._engine.shared.steady.told()):
            because = because._replace(text=f"{because.text} {told}")
        return Explanation(record.id, record.status, *because, ahead)

    async def _because(self, record: TaskRecord) -> tuple[Because, int]:
        """Return why, and how many tasks start before it."""
        if record.status in TERMINAL:
            return await self._ended(record), 0
        pool = self._engine.pool(record.category)
        if record.id in pool.running:
            stuck, waits = self._engine.joins.told(pool.running[record.id])
            text = f"Running: attempt {record.attempt} on worker {record.worker}."
            if stuck:
                return Because("stuck", f"{text} It is stuck: {waits}"), 0
            return Because("running", f"{text} {waits}".rstrip()), 0
        if record.status not in CLAIMABLE:
            text = f"Attempt {record.attempt} is about to start, or its outcome is being stored."
            return Because("starting", text), 0
        if record.id in self._engine.dependents:
            return Because("waiting for parents", await self._parents(record)), 0
        return await self._waiting(record, pool)

    async def _waiting(self, record: TaskRecord, pool: Pool) -> tuple[Because, int]:
        now = naive_now(self._engine.shared.clock)
        because = self._not_due(record, pool, now) or self._held(record, pool)
        if because is not None:
            return because, 0
        ahead = await self._engine.shared.storage.position(record, now)
        return self._in_line(record, pool, now, ahead), ahead

    async def _ended(self, record: TaskRecord) -> Because:
        at = local(record.completed_at) or "?"
        text = f"It ended {record.status.value} at {at} after {attempts(record.attempt)}."
        if record.status is TaskStatus.CANCELLED:
            moves = await self._engine.shared.storage.history(record.id)
            if moves and moves[-1].reason != Move.CANCEL.value:  # that would say nothing new
                text += f" The reason: {moves[-1].reason}."
        if record.error:
            text += f" The last error: {record.error}"
        return Because("ended", text)

    def _not_due(self, record: TaskRecord, pool: Pool, now: datetime) -> Because | None:
        """Say why it could not start even if nothing else was waiting."""
        if record in self._engine.unfit:
            return Because(
                "does not fit",
                f"It does not fit the function '{record.name}', which has changed since it was "
                f"enqueued: {record.error} It goes on after a deploy that it fits again. To try it "
                f"now: wopr tasks retry {record.id}. To give it up: wopr tasks cancel {record.id}, "
                "then enqueue it anew with arguments that fit.",
            )
        if record.name not in self._engine.shared.registry.definitions:
            missing = self._engine.shared.registry.missing(record.name)
            return Because(
                "unregistered",
                f"No function is registered under the name '{record.name}' in the process that "
                "owns the queue. It waits until one is: register it, or start the worker with the "
                f"module that does. {missing}".rstrip(),
            )
        refusal = self._engine.shared.refusals.of(record)
        if refusal is not None:
            return Because(
                "refused",
                f"{refusal} It waits until that takes work again, which is looked at every now "
                "and then. An executor of yours that is broken or shut down never does: register "
                "the task with a new one, or restart the program.",
            )
        due_at = now if record.run_at is None else pool.lanes.due(record, now)
        if due_at <= now:
            return None
        seconds = (due_at - now).total_seconds()
        due = f"due at {local(due_at)}, in {age(seconds)}"
        if record.status is TaskStatus.RETRY and record.retry_count:
            return Because(
                "retrying",
                f"Retry {record.retry_count} of {record.max_retries} is {due}. "
                f"The last error: {record.error}",
            )
        if record.started_at is not None:
            return Because("snoozed", f"Its function asked to go on later: it is {due}.")
        return Because("delayed", f"It is {due}.")

    def _held(self, record: TaskRecord, pool: Pool) -> Because | None:
        """Say what an operator, or the foreground, holds back."""
        pause = self._engine.controls.pause_of(record)
        if pause is not None:
            what = "its category" if pause.category is not None else "its name"
            target = shlex.quote(pause.category or pause.task or "")
            option = target if pause.category is not None else f"--task {target}"
            return Because(
                "paused",
                f"Tasks of {what} are paused {pause.told}. To go on: wopr resume {option}",
            )
        if pool.background and self._engine.shared.foreground.active:
            return Because(
                "foreground",
                f"Category '{record.category}' is in the background, and something in the "
                "foreground is being done now (queue.foreground()).",
            )
        if pool.holds:
            return Because(
                "limits", "The limits of its category are being changed; it starts after that."
            )
        return None

    def _in_line(self, record: TaskRecord, pool: Pool, now: datetime, ahead: int) -> Because:
        """Say what a due task waits for."""
        if not pool.workers:
            return Because(
                "no workers",
                f"Category '{record.category}' has no workers in the process that owns the queue: "
                f"queue.start_workers('{record.category}', 4), or "
                f"wopr worker module:queue -c {shlex.quote(record.category)}:4",
            )
        if not pool.accepting:
            return Because("shutting down", "The queue is shutting down and starts nothing.")
        if (blocked := self._engine.joins.blocked(record)) is not None:
            return Because("stuck", blocked)
        limited = (
            None if pool.gate is None else pool.gate.why(record, self._engine.shared.steady.now())
        )
        if limited is not None:
            return Because(
                "limited", f"A limit holds it back: {limited}. `wopr limits list` shows all limits."
            )
        busy = sum(attempt.slot is not None for attempt in pool.running.values())
        return Because(
            "queued",
            f"It is behind {counted(ahead, 'task')} of category '{record.category}'; "
            f"{busy} of {counted(len(pool.workers), 'worker')} busy.",
        )

    async def _parents(self, record: TaskRecord) -> str:
        """Name the parents that a task waits for."""
        parents = parents_of(record)
        storage = self._engine.shared.storage
        statuses = await storage.statuses(parents)
        left = [one for one in parents if statuses.get(one) not in TERMINAL]
        if not left:
            had = counted(len(parents), "parent")
            return f"What it waited for ({had}) has ended; it is about to be released."
        known = await storage.get_many(left[:_NAMED])
        names = [
            f"{one} ({known[one].name}, {known[one].status.value})" for one in left if one in known
        ]
        more = f" and {len(left) - len(names)} more" if len(left) > len(names) else ""
        only = on_failure_of(record) is OnParentFailure.ONLY
        more += ". It runs only if one of them fails." if only else "."
        of = f"{len(left)} of its {counted(len(parents), 'parent')}"
        return f"It waits for {of}: {', '.join(names)}{more}"
