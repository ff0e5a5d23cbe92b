"""The scheduler of one engine: sleeps until a schedule is due, and changes schedules.

Whatever reads or changes schedules holds one lock, ticks of other processes included, so
that each decision stands on the one before.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime

from wopr.domain.errors import DuplicateScheduleError, InvalidCallError, ScheduleNotFoundError
from wopr.domain.schedule import (
    CODE_IS_GONE,
    Schedule,
    behind_of,
    follow_clock,
    redefined,
)
from wopr.domain.spoken import counted, local
from wopr.domain.standing import (
    Circumstances,
    View,
    check_dependencies,
    standing,
    unknown,
)
from wopr.domain.task import TaskRecord
from wopr.engine.engine import Engine
from wopr.engine.schedules.book import ScheduleBook
from wopr.engine.schedules.firing import Firing
from wopr.engine.schedules.rows import changed_copy, new_row, synced

log = logging.getLogger(__name__)

ROUND = 1_000
"""Schedules that are decided and enqueued together; the event loop gets its turn in between."""
INTERVAL = 1.0
"""Seconds between two looks at the clock, at most; it may be set while the queue sleeps."""
SHORTEST_BACK_OFF = 0.25


class Scheduler:
    """Schedules of one engine. Reads nothing from the storage before it is first used."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._storage = engine.shared.storage
        self._clock = engine.shared.clock
        self.book = ScheduleBook()
        self.firing = Firing(engine, self.book)
        self._lock = asyncio.Lock()
        self._sure = False  # whether the book says what the storage says
        self._interval = INTERVAL
        self._timer: asyncio.TimerHandle | None = None
        self._ticks: set[asyncio.Task[list[str]]] = set()
        self.running = False
        self._followed = engine.shared.steady.set_back
        engine.on_scheduled = self._task_changed
        engine.on_clock_set = self._arm

    # -- life ---------------------------------------------------------------

    async def start(
        self, declared: Sequence[Schedule], interval: float = INTERVAL, *, complete: bool = True
    ) -> None:
        """Bring the rows up to what the code declares, then fire what is due, until stopped.

        Does nothing but take the interval over when it runs already.

        Args:
            declared: see :meth:`sync`, as ``complete``.
            interval: seconds between two looks at the clock, at most.
            complete: whether nothing else is declared.

        Raises:
            InvalidCallError: a declared schedule depends on one that there is not.
            StorageError: the rows can't be read or written.
        """
        self._interval = interval
        if self.running:
            self._arm()
            return
        await self.sync(declared, complete=complete)
        if self._engine.stopping:  # meanwhile
            return
        now = self._clock.now()
        for name, row in self.book.rows.items():
            self._engine.shared.registry.want(row.task)
            if row.run_on_start and row.paused_at is None:
                self.book.starting[name] = now
        self.running = True
        self._arm()

    async def stop(self) -> None:
        """Fire nothing more by itself. Idempotent."""
        self.running = False
        self._disarm()
        if self._ticks:
            await asyncio.wait(self._ticks)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, least: float = 0.0) -> None:
        """Look again when the next schedule is due, or when the clock may have been set."""
        self._disarm()
        if not self.running or self._engine.stopping:
            return
        due = self._next_due()
        if due is not None:
            wait = (due - self._clock.now()).total_seconds()
            delay = max(least, min(wait, self._interval), 0.0)
            self._timer = self._engine.shared.loop.call_later(delay, self._look)

    def _next_due(self) -> datetime | None:
        """Return when to tick next; now, if it is not sure what is due."""
        if self._sure and self._followed == self._engine.shared.steady.set_back:
            return self.book.next_due()
        return self._clock.now()

    def _look(self) -> None:
        """Tick if something is due; never twice at once."""
        self._engine.look_at_clock()
        due = self._next_due()
        if self._ticks or (due is not None and due > self._clock.now()):
            self._arm(SHORTEST_BACK_OFF if self._ticks else 0.0)
            return
        self._tick_apart().add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[list[str]]) -> None:
        failed = not task.cancelled() and task.exception() is not None
        if failed:
            log.error("Schedules that are due can't be fired yet: %s", task.exception())
        self._arm(max(SHORTEST_BACK_OFF, self._interval) if failed else 0.0)

    # -- tick ---------------------------------------------------------------

    async def tick(self) -> list[str]:
        """Fire what is due now; return the ids of the tasks.

        Goes on to its end even if the caller gives up.

        Raises:
            StorageError: what is due is fired by one of the next ticks.
        """
        return await asyncio.shield(self._tick_apart())

    def _tick_apart(self) -> asyncio.Task[list[str]]:
        """Start a tick of its own, that nobody's cancellation or context variables reach."""
        task = self._engine.shared.loop.create_task(self._tick(), context=contextvars.Context())
        self._ticks.add(task)
        task.add_done_callback(self._ticks.discard)
        return task

    async def _tick(self) -> list[str]:
        fired: list[str] = []
        async with self._locked():
            now = self._clock.now()
            while not self._engine.stopping and (names := self.book.take_due(now, ROUND)):
                fired += await self.firing.fire(names, now)
        return fired

    @contextlib.asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """Have the schedules for oneself, as the storage has them.

        Whatever goes wrong meanwhile may have been done all the same, so the storage is read
        again before anybody decides anything.
        """
        async with self._lock:
            self.book.watch()
            try:
                self._engine.look_at_clock()
                if not self._sure:
                    await self._load()
                await self._follow_clock()
                yield
            except (InvalidCallError, ScheduleNotFoundError):  # refused, nothing was done
                raise
            except BaseException:
                self._sure = False
                raise
            finally:
                self.book.watched()
        self._arm()

    async def _load(self) -> None:
        rows = await self._storage.schedules()
        progress = await self._storage.schedule_progress()
        behind = self.book.load(rows, progress)
        now = self._clock.now()
        early = [row for row in rows if follow_clock(row, behind_of(row, now), now)]
        for row in early:
            self.book.plan(row)
        self._sure, self._followed = True, self._engine.shared.steady.set_back
        if behind:
            said = counted(len(behind), "schedule")
            log.info("Brought %s up to the tasks they had enqueued.", said)
        if early:
            log.warning("%d intervals begin anew: their times were of the future.", len(early))
        if changed := {row.name: row for row in [*behind, *early]}:
            await self._storage.save_schedules(list(changed.values()))

    async def _follow_clock(self) -> None:
        """Let intervals go on as they were when the wall clock was set back, or right again."""
        set_back, now = self._engine.shared.steady.set_back, self._clock.now()
        if back := set_back - self._followed:
            rows = [replace(row) for row in self.book.rows.values()]
            await self._put([row for row in rows if follow_clock(row, back, now)])
            self._followed = set_back

    def _task_changed(self, task: TaskRecord) -> None:
        if self.book.changed(task):
            self._arm()

    # -- change -------------------------------------------------------------

    async def sync(self, declared: Sequence[Schedule], *, complete: bool) -> None:
        """Bring the rows up to what the code declares.

        Args:
            declared: new ones are added, changed ones follow; those that were paused because
                their code was gone go on.
            complete: whether a row of a decorator that is not declared has lost its code, and
                is paused.

        Raises:
            InvalidCallError: one depends on a schedule that there is not, or on itself.
        """
        async with self._locked():
            now = self._clock.now()
            rows = self.book.rows
            changed = [row for new in declared if (row := synced(rows.get(new.name), new, now))]
            if complete:
                names = {new.name for new in declared}
                changed += [
                    changed_copy(row, lambda one: one.pause(now, CODE_IS_GONE))
                    for row in rows.values()
                    if row.origin == "code" and row.name not in names and row.paused_at is None
                ]
            await self._put(changed)
            for new in declared if self.running else ():
                if new.run_on_start and rows[new.name].paused_at is None:
                    self.book.starting[new.name] = now

    async def add(self, new: Schedule) -> View:
        """Add a schedule.

        Raises:
            DuplicateScheduleError: the name is taken.
            InvalidCallError: it depends on a schedule that there is not, or on itself.
        """
        async with self._locked():
            if new.name in self.book.rows:
                raise DuplicateScheduleError(
                    f"There is a schedule {new.name!r} already. Give this one another name, or "
                    "change that one: queue.schedules.update(name, …)."
                )
            row = new_row(new, self._clock.now())
            await self._put([row])
            return self._view(row)

    async def replace(self, new: Schedule) -> View:
        """Give a schedule another plan; where it stands is kept.

        Raises:
            ScheduleNotFoundError: there is none of this name.
            InvalidCallError: it would depend on a schedule that there is not, or on itself.
        """
        return await self._change(new.name, lambda row, now: redefined(row, new, now))

    async def pause(self, name: str, reason: str) -> View:
        """Fire it no more until it is resumed.

        Raises:
            ScheduleNotFoundError: there is none of this name.
        """
        return await self._change(
            name, lambda row, now: changed_copy(row, lambda one: one.pause(now, reason))
        )

    async def resume(self, name: str) -> View:
        """Go on with the next occurrence after now; does nothing if it is not paused.

        Raises:
            ScheduleNotFoundError: there is none of this name.
        """
        return await self._change(
            name,
            lambda row, now: (
                row if row.paused_at is None else changed_copy(row, lambda one: one.resume(now))
            ),
        )

    async def remove(self, name: str) -> None:
        """Delete a schedule; its tasks stay.

        Raises:
            ScheduleNotFoundError: there is none of this name.
            InvalidCallError: others depend on it.
        """
        async with self._locked():
            self._row(name)
            if dependents := self.book.dependents(name):
                raise InvalidCallError(
                    f"Schedule {name!r} can't be removed: {', '.join(map(repr, dependents))} "
                    "would wait for it for ever. Remove those first, or pause this one."
                )
            self.firing.forget(name)
            await self._storage.delete_schedule(name)
            self.book.remove(name)

    async def run_now(self, name: str, task_id: str | None = None) -> str:
        """Enqueue one task at once, paused or not; return its id, which the caller may have made.

        Raises:
            ScheduleNotFoundError: there is none of this name.
            InvalidCallError: a schedule that it depends on never succeeded.
        """
        async with self._locked():
            return await self.firing.run_now(self._row(name), task_id)

    async def _change(self, name: str, change: Callable[[Schedule, datetime], Schedule]) -> View:
        async with self._locked():
            row = change(self._row(name), self._clock.now())
            await self._put([row])
            return self._view(row)

    async def _put(self, rows: Sequence[Schedule]) -> None:
        if any(row.depends_on for row in rows):
            known = {name: row.depends_on for name, row in self.book.rows.items()}
            check_dependencies(known | {row.name: row.depends_on for row in rows})
        await self._storage.save_schedules(rows)
        for row in rows:
            self.firing.forget(row.name)
            self.book.put(row)

    # -- look ---------------------------------------------------------------

    async def all(self) -> list[View]:
        """Return all schedules by name, each with what it is doing."""
        async with self._locked():
            return [self._view(self.book.rows[name]) for name in sorted(self.book.rows)]

    async def get(self, name: str) -> View:
        """Return a schedule and what it is doing.

        Raises:
            ScheduleNotFoundError: there is none of this name.
        """
        async with self._locked():
            return self._view(self._row(name))

    def _row(self, name: str) -> Schedule:
        row = self.book.rows.get(name)
        if row is None:
            raise unknown(name, self.book.rows)
        return row

    def _view(self, row: Schedule) -> View:
        around = Circumstances(
            self._clock.now(),
            self.running,
            self._is_registered(row.task),
            self.book.live(row.name),
            {parent: self._state_of(parent) for parent in self.book.lacking(row)},
        )
        found, told = standing(row, around), self._engine.shared.steady.told()
        if found.reason == "unregistered":
            told = f"{self._engine.shared.registry.missing(row.task)} {told}".lstrip()
        return replace(row), replace(found, text=f"{found.text} {told}".rstrip())

    def _is_registered(self, task: str) -> bool:
        """Whether a function is known that its tasks run."""
        return task in self._engine.shared.registry.definitions

    def _state_of(self, parent: str) -> str:
        row = self.book.rows.get(parent)
        if row is None:
            return "which there is not any more"
        if row.paused_at is not None:
            return f"which is paused ({row.paused_reason})"
        if live := self.book.live(parent):
            return f"whose task {live[0]} has not ended"
        if row.next_fire_at is None:
            return "which never fires again: run it by hand"
        return f"which fires at {local(row.next_fire_at)}"
