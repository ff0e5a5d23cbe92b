"""Why tasks that have something in common stand where they stand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol
from uuid import UUID

from wopr.domain.clock import naive_now
from wopr.domain.errors import TaskNotFoundError
from wopr.domain.facts import Facts
from wopr.domain.jsontext import shown
from wopr.domain.reason import Reason, Severity
from wopr.domain.spoken import counted, local
from wopr.domain.standing import View
from wopr.domain.status import TERMINAL, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.why import reasons
from wopr.engine.engine import Engine
from wopr.insights import queries
from wopr.insights.status import SECONDS, StatusOf
from wopr.ports.answers import Explanation
from wopr.ports.status import About, GroupExplanation
from wopr.ports.storage import QueryLimits

MOST_EXPLAINED = 20
"""So many tasks of a flow, or of a schedule, are explained one by one."""
NOBODY = "no worker process"
_HELD = frozenset(
    {
        "unregistered",
        "no workers",
        "does not fit",
        "refused",
        "paused",
        "stuck",
        "shutting down",
        NOBODY,
    }
)
"""Reasons of tasks that last until somebody does something."""

Explain = Callable[[TaskRecord], Awaitable[Explanation]]


class OneSchedule(Protocol):
    """The schedules, as far as this module is concerned."""

    async def get(self, name: str) -> View:
        """Return a schedule and what it is doing."""
        ...


class ExplainingGroups:
    """Explains categories, names, flows and schedules of one engine. Writes nothing."""

    def __init__(
        self, engine: Engine, explain: Explain, status: StatusOf, schedules: OneSchedule
    ) -> None:
        self._engine = engine
        self._explain = explain
        self._status = status
        self._schedules = schedules

    async def explain(self, about: About, target: str) -> GroupExplanation:
        """Say why the tasks stand where they stand.

        Raises:
            TaskNotFoundError: there is no such flow.
            ScheduleNotFoundError: there is no such schedule.
        """
        if about == "flow":
            return await self._flow(target)
        if about == "schedule":
            return await self._schedule(target)
        return _from_facts(await self._status.facts(), about, target)

    async def _flow(self, flow_id: str) -> GroupExplanation:
        try:
            wanted = str(UUID(flow_id))
        except ValueError:
            raise _no_flow(flow_id) from None
        limits, now = QueryLimits(SECONDS, own=True), naive_now(self._engine.shared.clock)
        answer = await self._engine.shared.storage.query(
            queries.FLOW_STANDING, [wanted, MOST_EXPLAINED, now], limits
        )
        [(total, ended, running, waiting, due, failed, front)] = answer.rows
        if not total:
            raise _no_flow(flow_id)
        found = await self._of_tasks([str(one) for one in front or ()])
        if failed:
            found.append(
                Reason(
                    kind="failed",
                    severity=Severity.WARNING,
                    text=f"{counted(failed, 'task')} of it failed.",
                    command="wopr flows show " + wanted,
                    tasks=failed,
                )
            )
        text = f"Flow {wanted}: {ended:,} of {counted(total, 'task')} have ended, {running:,} run"
        return GroupExplanation(
            about="flow",
            target=wanted,
            reason=_first(found, live=total - ended),
            text=f"{text}, {waiting:,} wait, {due:,} of them due.",
            reasons=tuple(found),
            waiting=waiting,
            due=due,
            running=running,
        )

    async def _schedule(self, name: str) -> GroupExplanation:
        row, standing = await self._schedules.get(name)
        reason, text = standing.reason, standing.text
        if reason in ("no scheduler", "unregistered") and self._nobody_works():
            reason = NOBODY
            text = f"It is planned for {local(row.next_fire_at)}, and no worker process fires it."
        records = await self._engine.shared.storage.get_many(standing.live[:MOST_EXPLAINED])
        running = sum(one.status is TaskStatus.STARTED for one in records.values())
        found = await self._of_tasks(list(records))
        facts = await self._status.facts()
        found += [one for one in reasons(facts) if one.about.get("schedule") == row.name]
        return GroupExplanation(
            about="schedule",
            target=row.name,
            reason=reason,
            text=f"Schedule {row.name!r}: {text}",
            reasons=tuple(found),
            waiting=len(records) - running,
            running=running,
        )

    def _nobody_works(self) -> bool:
        """Whether this process has the file only to look at it."""
        workers = any(pool.workers for pool in self._engine.pools.values())
        return not workers and not self._engine.shared.registry.definitions

    async def _of_tasks(self, ids: Sequence[str]) -> list[Reason]:
        """Return why tasks stand where they stand: each kind once, with one that shows it."""
        live = self._engine.shared.live
        asked = [one for one in ids if one not in live]
        stored = await self._engine.shared.storage.get_many(asked) if asked else {}
        explained: dict[str, list[tuple[TaskRecord, Explanation]]] = {}
        for task_id in ids:
            record = live.get(task_id) or stored.get(task_id)
            if record is not None and record.status not in TERMINAL:
                why = await self._explain(record)
                if why.reason in ("no workers", "unregistered") and self._nobody_works():
                    why = replace(why, reason=NOBODY, text="No worker process: nobody runs it.")
                explained.setdefault(why.reason, []).append((record, why))
        found = []
        for kind, several in explained.items():
            record, why = several[0]
            more = f" So do {len(several) - 1} more." if len(several) > 1 else ""
            found.append(
                Reason(
                    kind=kind,
                    severity=Severity.HELD if kind in _HELD else Severity.WARNING,
                    text=f"Task {record.id} ({record.name}): {why.text}{more}",
                    command=f"wopr tasks show {record.id}",
                    tasks=len(several),
                    about={"task": record.id, "name": record.name, "category": record.category},
                )
            )
        return sorted(found, key=lambda one: (one.severity is not Severity.HELD, -one.tasks))


def _from_facts(facts: Facts, about: About, target: str) -> GroupExplanation:
    """Return what of the reasons of the whole queue is about one category, or one name."""
    of_name = about == "name"
    live = [one for one in facts.live if (one.name if of_name else one.category) == target]
    categories = {one.category for one in live} if of_name else {target}
    names = {target} if of_name else {one.name for one in live}
    found = tuple(one for one in reasons(facts) if _concerns(one, categories, names))
    waiting, due = sum(one.waiting for one in live), sum(one.due for one in live)
    running = sum(one.running for one in live)
    workers = sum(facts.workers.get(one, 0) for one in categories)
    what = f"Tasks {target!r}" if of_name else f"Category {target!r}"
    has = f"{counted(workers, 'worker')}, {running:,} run, {waiting:,} wait, {due:,} of them due"
    if of_name and not live:  # in which category one would be is not known
        has = "none runs and none waits"
        if facts.registered and target not in facts.registered:
            has += f", and no function of process {facts.owner} has this name"
    return GroupExplanation(
        about=about,
        target=target,
        reason=_first(found, live=waiting + running),
        text=f"{what}: {has}.",
        reasons=found,
        waiting=waiting,
        due=due,
        running=running,
    )


def _concerns(reason: Reason, categories: set[str], names: set[str]) -> bool:
    about = reason.about
    if "name" in about or "names" in about:
        listed = about.get("names")
        own = {about.get("name"), *(listed if isinstance(listed, list) else ())}
        return bool(own & names)
    if "category" in about:
        return about["category"] in categories
    return reason.severity is not Severity.WARNING and "schedules" not in about


def _first(found: Sequence[Reason], *, live: int) -> str:
    if found:
        return found[0].kind
    return "flowing" if live else "nothing"


def _no_flow(flow_id: str) -> TaskNotFoundError:
    return TaskNotFoundError(f"There is no flow {shown(flow_id)}. See: wopr flows list")
