"""Fire schedules that are due: decide, enqueue in bulk, then bring their rows up to date.

The enqueued task says which schedule and which planned time it is for, so what happens
exactly once is its commit. The rows follow in one statement; where they lag behind after a
crash, opening brings them up to their tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from wopr.config.crashpoint import crashpoint
from wopr.domain.errors import InvalidCallError, StorageError, WoprError
from wopr.domain.newtask import NewTask, OnParentFailure
from wopr.domain.retaining import RETAIN
from wopr.domain.schedule import Decision, Schedule, decide, settle
from wopr.domain.snapshot import decode_options, naive
from wopr.domain.spoken import counted
from wopr.engine.engine import Engine
from wopr.engine.schedules.book import ScheduleBook

log = logging.getLogger(__name__)

AsService = Callable[[str], AbstractContextManager[object]]


@dataclass(slots=True)
class Shot:
    """One schedule that fires, and the tasks that come of it."""

    schedule: Schedule
    decision: Decision
    news: list[NewTask] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)


class Firing:
    """Turns due schedules into tasks."""

    def __init__(self, engine: Engine, book: ScheduleBook) -> None:
        self._engine = engine
        self._book = book
        self._unsaved: dict[str, Schedule] = {}
        self.as_service: AsService | None = None
        """Makes a declared service identity the current one, for a ``with`` block."""

    async def fire(self, names: Sequence[str], now: datetime) -> list[str]:
        """Decide about due schedules and enqueue their tasks; return their ids.

        Raises:
            StorageError: it is not known what was enqueued: read it before going on.
        """
        await self._forget_lost_parents(names)
        shots = []
        for name in names:
            row = self._book.rows[name]
            if self._book.lacking(row):
                self._book.wait(name)
                continue
            start = self._book.starting.get(name)
            shots.append(Shot(row, decide(row, now, self._book.live(name), start)))
            if shots[-1].decision.missed.number:
                await asyncio.sleep(0)  # to count them took a while
        await self._cancel(shots)
        for shot in shots:
            shot.news = [self._task(shot, moment, now) for moment in shot.decision.fire]
        await self._enqueue(shots)
        for shot in shots:
            row = shot.schedule
            self._book.added(row.name, shot.ids)
            self._book.starting.pop(row.name, None)
            settle(row, shot.decision, shot.ids[-1] if shot.ids else None)
            self._book.plan(row)
            self._unsaved[row.name] = row
        crashpoint("schedule.after_enqueue")
        await self.save()
        crashpoint("schedule.after_save")
        return [task_id for shot in shots for task_id in shot.ids]

    async def run_now(self, row: Schedule, task_id: str | None = None) -> str:
        """Enqueue a task of the schedule that is no occurrence of it; return its id.

        With an id that the caller made it is enqueued once, however often it is asked for.

        Raises:
            InvalidCallError: a schedule that it depends on never succeeded.
        """
        await self._forget_lost_parents([row.name])
        if lacking := self._book.lacking(row):
            raise InvalidCallError(
                f"Schedule {row.name!r} can't run yet: it needs the results of "
                f"{', '.join(map(repr, lacking))}, which never succeeded or whose results were "
                "cleaned up. Run those first."
            )
        shot = Shot(row, Decision((), row.next_fire_at))
        new = self._task(shot, None, self._engine.shared.clock.now())
        new.id, new.again = task_id, task_id is not None
        shot.news = [new]
        await self._enqueue([shot])
        self._book.added(row.name, shot.ids)
        return shot.ids[0]

    async def save(self) -> None:
        """Store the rows that changed. One that can't be stored now is stored next time."""
        rows = list(self._unsaved.values())
        try:
            await self._engine.shared.storage.save_schedules(rows)
        except StorageError as error:
            log.error(
                "%s fired, and can't be stored yet: %s", counted(len(rows), "schedule"), error
            )
        else:
            self._unsaved.clear()

    def forget(self, name: str) -> None:
        """Store nothing of a schedule that was replaced or removed."""
        self._unsaved.pop(name, None)

    # -- inside -------------------------------------------------------------

    async def _forget_lost_parents(self, names: Sequence[str]) -> None:
        """Look which of the results that the due schedules need are still there."""
        succeeded = self._book.succeeded
        parents = {one for name in names for one in self._book.rows[name].depends_on}
        needed = {one: succeeded[one] for one in parents if one in succeeded}
        if needed:
            found = await self._engine.shared.storage.statuses(sorted(needed.values()))
            for parent, task_id in needed.items():
                if task_id not in found and succeeded.get(parent) == task_id:
                    log.warning("The result of schedule %r was cleaned up.", parent)
                    del succeeded[parent]

    async def _cancel(self, shots: Sequence[Shot]) -> None:
        """Cancel what has to make room."""
        await asyncio.gather(
            *(
                self._engine.cancel(task_id, reason=f"replaced by schedule {shot.schedule.name}")
                for shot in shots
                for task_id in shot.decision.cancel
            )
        )

    async def _enqueue(self, shots: Sequence[Shot]) -> None:
        """Enqueue in two commits: those that depend on other tasks, and the others."""
        for dependent in (False, True):
            chosen = [
                shot for shot in shots if any(new.depends_on for new in shot.news) is dependent
            ]
            news = [new for shot in chosen for new in shot.news]
            if not news:
                continue
            add = self._engine.add_flow if dependent else self._engine.add_many
            ids = iter(await add(news))
            for shot in chosen:
                shot.ids = [next(ids) for _ in shot.news]

    def _task(self, shot: Shot, moment: datetime | None, now: datetime) -> NewTask:
        row = shot.schedule
        run_at = None
        if row.jitter and moment is not None:
            wait = timedelta(seconds=self._engine.shared.surroundings.rng.uniform(0.0, row.jitter))
            run_at = naive(max(moment, now) + wait)
        parents = tuple(self._book.succeeded[parent] for parent in row.depends_on)
        return NewTask(
            name=row.task,
            category=row.category,
            priority=row.priority,
            max_retries=row.max_retries,
            args=row.args,
            kwargs=row.kwargs,
            run_at=run_at,
            options=self._options(shot),
            depends_on=(*parents, *shot.decision.after),
            schedule=row.name,
            scheduled_for=naive(moment),
        )

    def _options(self, shot: Shot) -> str | None:
        """Return the stored options, with what goes along with calls of the function."""
        row = shot.schedule
        more = self._packed(row)
        definition = self._engine.shared.registry.definitions.get(row.task)
        if definition is not None and definition.retain is not None:
            more[RETAIN] = definition.retain
        if shot.decision.after:
            more["on_parent_failure"] = OnParentFailure.RUN.value
        if not more:
            return row.options
        return json.dumps({**(decode_options(row.options) if row.options else {}), **more})

    def _packed(self, row: Schedule) -> dict[str, object]:
        """Return what the carriers of the function pack under the schedule's identity.

        What can't be packed is left out: then the run is refused, for everybody to see.
        """
        definition = self._engine.shared.registry.definitions.get(row.task)
        packed: dict[str, object] = {}
        results = decode_options(row.options).get("results") if row.options else None
        for carrier in definition.carriers if definition is not None else ():
            try:
                with self._identity(row):
                    value = carrier.pack(row.task, row.args, row.kwargs, results)
            except WoprError as error:
                log.error("Schedule %r fires without %r: %s", row.name, carrier.key, error)
            else:
                if value is not None:
                    packed[carrier.key] = value
        return packed

    def _identity(self, row: Schedule) -> AbstractContextManager[object]:
        if row.run_as is None:
            return contextlib.nullcontext()
        if self.as_service is None:
            raise InvalidCallError(
                f"It runs as {row.run_as!r}, and the queue has no identities: give it "
                "TaskQueue(auth=Auth(service_identities={…}))."
            )
        return self.as_service(row.run_as)
