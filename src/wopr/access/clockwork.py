"""Keep the schedules of one queue going: with its own engine, or by asking the owner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from wopr.access.local import LocalBackend
from wopr.access.timing import Time
from wopr.domain.errors import DuplicateScheduleError, StorageError, WoprError
from wopr.domain.origin import Kinship, Origin, kinship
from wopr.domain.schedule import Schedule, fired_at_once, same_plan
from wopr.engine.schedules.scheduler import INTERVAL, Scheduler
from wopr.ports.backend import Backend

log = logging.getLogger(__name__)


class Clockwork:
    """What the code declares, and whatever fires it.

    The owner of the file has the scheduler. Any other process that starts one asks the owner
    to look at the clock, again and again, and has it itself once it owns the file.
    """

    def __init__(self, backend: Callable[[], Awaitable[Backend]], time: Time) -> None:
        self._backend = backend
        self._time = time
        self._declared: dict[str, Schedule] = {}
        self._at_once: dict[str, datetime] = {}
        """When it was by the clock of this machine that those were declared which fire then."""
        self._by: dict[str, Origin] = {}
        """Where the functions come from, by the names of their schedules."""
        self._interval = INTERVAL
        self._scheduler: Scheduler | None = None
        self._asking: asyncio.Task[None] | None = None
        self._late: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None

    @property
    def running(self) -> bool:
        """Whether this process fires schedules."""
        return self._scheduler is not None

    @property
    def declared(self) -> list[Schedule]:
        """What the code declares, in this order."""
        return list(self._declared.values())

    def declare(
        self, schedule: Schedule, origin: Origin | None = None, at_once: datetime | None = None
    ) -> None:
        """Take a schedule of the code; if the scheduler runs, it learns of it at once.

        Code that is executed anew, as a notebook's cell is, declares it anew.

        Args:
            schedule: as it is declared.
            origin: where its task's function comes from, if that is known here.
            at_once: the moment, if a new one fires now for the first time.

        Raises:
            DuplicateScheduleError: another one is declared under this name.
        """
        known = self._declared.get(schedule.name)
        if known is not None and not self._may_follow(known, schedule, origin):
            raise DuplicateScheduleError(
                f"The code declares two schedules named {schedule.name!r}: of task "
                f"{known.task!r}, {known.trigger.describe()}; and of task {schedule.task!r}, "
                f"{schedule.trigger.describe()}. Give one of them another name=."
            )
        self._declared[schedule.name] = schedule
        self._at_once.pop(schedule.name, None)
        if at_once is not None:
            self._at_once[schedule.name] = at_once
        if origin is not None:
            self._by[schedule.name] = origin
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._sync_late, schedule)

    def _may_follow(self, known: Schedule, schedule: Schedule, origin: Origin | None) -> bool:
        """Tell whether it is the known one, or that one's code was executed anew."""
        if known.task != schedule.task:
            return False
        before = self._by.get(schedule.name)
        anew = before is not None and origin is not None and kinship(before, origin)
        return anew is Kinship.ANEW or same_plan(known, schedule)

    def withdraw(self, name: str) -> None:
        """Forget what was declared; its row is changed by nobody."""
        self._declared.pop(name, None)
        self._by.pop(name, None)
        self._at_once.pop(name, None)

    async def sync(self) -> None:
        """Bring the rows up to what is declared, without firing anything.

        Raises:
            InvalidCallError: a declared schedule depends on one that there is not.
            StorageError: the schedules can't be read or written.
        """
        backend = await self._backend()
        own = isinstance(backend, LocalBackend)
        await backend.schedules.sync(self._planned(), complete=own)
        self._loop = asyncio.get_running_loop()

    async def start(self, interval: float | None = None) -> None:
        """Start, or go on with another interval (seconds).

        Raises:
            InvalidCallError: a declared schedule depends on one that there is not.
            StorageError: the schedules can't be read or written.
        """
        if interval is not None:
            self._interval = interval
        backend = await self._backend()
        if isinstance(backend, LocalBackend):
            await self._have(backend, complete=True)
        elif self._asking is None:
            await backend.schedules.sync(self._planned(), complete=False)
            self._asking = asyncio.create_task(self._ask(complete=False))
        self._loop = asyncio.get_running_loop()
        if self._ended is None:
            self._ended = asyncio.Event()

    async def start_beside_workers(self) -> None:
        """Start; while the storage fails, workers start without it and it is tried again.

        Raises:
            InvalidCallError: a declared schedule depends on one that there is not.
        """
        try:
            await self.start()
        except StorageError as error:
            log.error("No schedule is fired, because the schedules can't be read: %s", error)
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask(complete=True))

    async def ended(self) -> None:
        """Return when it is stopped."""
        if self._ended is not None:
            await self._ended.wait()

    async def stop(self) -> None:
        """Fire nothing more. Idempotent."""
        asking, self._asking = self._asking, None
        scheduler, self._scheduler = self._scheduler, None
        ended, self._ended = self._ended, None
        self._loop = None
        tasks = [*self._late, *([asking] if asking is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if scheduler is not None:
            await scheduler.stop()
        if ended is not None:
            ended.set()

    async def let_go(self) -> Callable[[], None]:
        """Fire nothing until what is returned is called; who waits for the end goes on waiting."""
        loop, ended, fires = self._loop, self._ended, self.running or self._asking is not None
        self._ended = None
        await self.stop()

        def go_on() -> None:
            self._loop, self._ended = loop, ended
            if fires:
                self._asking = asyncio.create_task(self._ask(complete=True))

        return go_on

    def anew(self, backend: Callable[[], Awaitable[Backend]]) -> Clockwork:
        """Return the one of another process: it knows what is declared, and nothing runs."""
        new = Clockwork(backend, self._time)
        new._declared, new._by, new._interval = self._declared, self._by, self._interval
        new._at_once = self._at_once
        return new

    async def _have(self, backend: LocalBackend, *, complete: bool) -> None:
        self._scheduler = backend.schedules
        await self._scheduler.start(self._planned(), self._interval, complete=complete)

    def _planned(self) -> list[Schedule]:
        """Return what is declared; what fires at once has its first time, which is known by now."""
        return [self._with_first(one) for one in self._declared.values()]

    def _with_first(self, schedule: Schedule) -> Schedule:
        moment = self._at_once.get(schedule.name)
        return schedule if moment is None else fired_at_once(schedule, self._time.of(moment))

    async def _ask(self, *, complete: bool) -> None:
        """Ask the owner to look at the clock, until this process is the owner.

        Not ``complete``: an owner that died may have declared what is not known here.
        """
        while True:
            try:
                backend = await self._backend()
                if isinstance(backend, LocalBackend):
                    await self._have(backend, complete=complete)
                    log.info("This process owns the file now and fires the schedules.")
                    self._asking = None
                    return
                await backend.schedules.tick()
            except (WoprError, OSError) as error:
                log.warning("The schedules could not be looked at: %s", error)
            await asyncio.sleep(self._interval)

    def _sync_late(self, schedule: Schedule) -> None:
        task = asyncio.get_running_loop().create_task(self._sync(schedule))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _sync(self, schedule: Schedule) -> None:
        try:
            backend = await self._backend()
            await backend.schedules.sync([self._with_first(schedule)], complete=False)
        except WoprError as error:
            log.error("Schedule %r could not be stored: %s", schedule.name, error)
