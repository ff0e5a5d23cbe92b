"""Why tasks of the fleet stand where they stand."""

from __future__ import annotations

import shlex

from wopr.calls.waits import on_failure_of
from wopr.domain import decide
from wopr.domain.controls import Pause
from wopr.domain.newtask import OnParentFailure
from wopr.domain.rule import RuleKind
from wopr.domain.snapshot import parents_of
from wopr.domain.spoken import age, counted, local
from wopr.domain.status import CLAIMABLE, TERMINAL, Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.fleet.fleet import Fleet
from wopr.fleet.workers import workers_of
from wopr.ports.answers import Because, Explanation, attempts
from wopr.storage.postgres import statements

_NAMED = 5
"""How many of the tasks that it waits for an explanation names."""


class Explaining:
    """Explains single tasks. Writes nothing."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def explain(self, record: TaskRecord) -> Explanation:
        """Say why a task stands where it stands."""
        ahead = 0
        if record.status in TERMINAL:
            because = Because("ended", await self._ended(record))
        elif record.status not in CLAIMABLE:
            at = local(record.started_at)
            text = f"Running: attempt {record.attempt} on worker {record.worker}, since {at}."
            because = Because("running", text)
        else:
            because, ahead = await self._waiting(record)
        return Explanation(record.id, record.status, *because, ahead)

    async def _ended(self, record: TaskRecord) -> str:
        at = local(record.completed_at) or "?"
        text = f"It ended {record.status.value} at {at} after {attempts(record.attempt)}."
        if record.status is TaskStatus.CANCELLED:
            moves = await self._fleet.parts.store.history(record.id)
            if moves and moves[-1].reason != Move.CANCEL.value:
                text += f" The reason: {moves[-1].reason}."
        return f"{text} The last error: {record.error}" if record.error else text

    async def _waiting(self, record: TaskRecord) -> tuple[Because, int]:
        if decide.is_unfit(record):
            return Because(
                "does not fit",
                f"It does not fit the function '{record.name}', which has changed since it was "
                f"enqueued: {record.error} It goes on after a deploy that it fits again. To try it "
                f"now: wopr tasks retry {record.id}. To give it up: wopr tasks cancel {record.id}, "
                "then enqueue it anew with arguments that fit.",
            ), 0
        if record.waiting:
            return Because("waiting for parents", await self._parents(record)), 0
        now = self._fleet.parts.now()
        if record.run_at is not None and record.run_at > now:
            return self._not_due(record), 0
        for rule in await self._fleet.rules.all(RuleKind.PAUSE):
            pause = Pause.from_rule(rule)
            if pause.category == record.category or pause.task == record.name:
                what = "its category" if pause.category is not None else "its name"
                target = shlex.quote(pause.category or pause.task or "")
                option = target if pause.category is not None else f"--task {target}"
                text = f"Tasks of {what} are paused {pause.told}. To go on: wopr resume {option}"
                return Because("paused", text), 0
        if self._fleet.stands_back(record.category):
            text = (
                f"Category '{record.category}' is in the background, and something in the "
                "foreground is being done now (queue.foreground())."
            )
            return Because("foreground", text), 0
        return await self._in_line(record)

    def _not_due(self, record: TaskRecord) -> Because:
        assert record.run_at is not None, "it waits for a time"
        seconds = (record.run_at - self._fleet.parts.now()).total_seconds()
        due = f"due at {local(record.run_at)}, in {age(seconds)}"
        if record.status is TaskStatus.RETRY and record.retry_count:
            number = f"Retry {record.retry_count} of {record.max_retries}"
            return Because("retrying", f"{number} is {due}. The last error: {record.error}")
        if record.started_at is not None:
            return Because("snoozed", f"Its function asked to go on later: it is {due}.")
        return Because("delayed", f"It is {due}.")

    async def _in_line(self, record: TaskRecord) -> tuple[Because, int]:
        workers = [one for one in await workers_of(self._fleet) if one.category == record.category]
        rows = await self._fleet.parts.store.connections.rows(
            statements.AHEAD, id=record.id, now=self._fleet.parts.now()
        )
        ahead = int(rows[0][0])
        if not workers:
            text = (
                f"Category '{record.category}' has no workers on any host: "
                f"queue.start_workers('{record.category}', 4), or "
                f"wopr worker module:queue -c {shlex.quote(record.category)}:4"
            )
            return Because("no workers", text), ahead
        registry = self._fleet.parts.registry
        if record.name not in registry.definitions:
            text = (
                f"No function is registered under the name '{record.name}' in this process. Where "
                f"workers have one, it starts there. {registry.missing(record.name)}"
            )
            return Because("unregistered", text.rstrip()), 0
        busy = sum(one.task_id is not None for one in workers)
        text = (
            f"It is behind {counted(ahead, 'task')} of category '{record.category}'; "
            f"{busy} of {counted(len(workers), 'worker')} busy."
        )
        if (limited := await self._fleet.claiming.why(record)) is not None:
            said = f"A limit holds it back: {limited}. `wopr limits list` shows all limits."
            return Because("limited", said), ahead
        return Because("queued", text), ahead

    async def _parents(self, record: TaskRecord) -> str:
        parents = parents_of(record)
        found = await self._fleet.parts.store.statuses(parents)
        left = [one for one in parents if one in found and found[one] not in TERMINAL]
        if not left:
            return f"What it waited for ({counted(len(parents), 'parent')}) has ended."
        known = await self._fleet.parts.store.get_many(left[:_NAMED])
        names = [
            f"{one} ({known[one].name}, {known[one].status.value})" for one in left if one in known
        ]
        more = f" and {len(left) - len(names)} more" if len(left) > len(names) else ""
        only = on_failure_of(record) is OnParentFailure.ONLY
        more += ". It runs only if one of them fails." if only else "."
        of = f"{len(left)} of its {counted(len(parents), 'parent')}"
        return f"It waits for {of}: {', '.join(names)}{more}"
