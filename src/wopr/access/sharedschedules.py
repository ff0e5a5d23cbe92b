"""The schedules of a queue that many hosts share: whoever looks first fires what is due.

The scheduler is that of a queue in a file. Here it reads everything anew each time, holding a
lock of the database, so each decision stands on the one before, whichever host made that; and
asks the server for the time.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

from wopr.access.noted import NotedScheduler
from wopr.domain.clock import naive_now
from wopr.domain.schedule import Schedule
from wopr.engine.actbook import ActBook
from wopr.engine.engine import Engine
from wopr.fleet.doubt import deciding
from wopr.fleet.fleet import Fleet
from wopr.storage.postgres.schedules import ScheduleStore


class SharedScheduler(NotedScheduler):
    """The schedules of one host."""

    def __init__(self, fleet: Fleet, book: ActBook) -> None:
        self._rows = ScheduleStore(fleet.parts.store)
        self._fleet = fleet
        super().__init__(cast("Engine", _as_engine(fleet, self._rows, book)))
        self.running = True  # what is declared to run on start does, wherever that is

    @contextlib.asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        with deciding("the schedules", "wopr schedules list"):
            async with self._rows.alone():
                self._sure = False
                try:  # what one host writes must not be of another's future
                    await self._fleet.looking.look_at_time()
                    async with super()._locked():
                        yield
                finally:
                    self._fleet.looking.forget_schedules()

    async def sync(self, declared: Sequence[Schedule], *, complete: bool) -> None:
        """Bring the rows up to what the code declares; other hosts may declare others."""
        if declared:
            await super().sync(declared, complete=False)

    async def _tick(self) -> list[str]:
        starts = bool(self.book.starting)
        now = naive_now(self._clock)
        if not starts and (
            self._fleet.looking.nothing_fires(now) or not await self._rows.is_due(now)
        ):
            return []
        return await super()._tick()

    def _is_registered(self, task: str) -> bool:
        """Whether workers can run it; who has none does not know what those of others can."""
        return not self._fleet.pools or super()._is_registered(task)

    def _arm(self, least: float = 0.0) -> None:
        """Do nothing: somebody asks for each tick."""


def _as_engine(fleet: Fleet, rows: ScheduleStore, book: ActBook) -> Any:
    """Return what the scheduler asks of an engine, done by the fleet."""
    parts = fleet.parts
    shared = SimpleNamespace(
        storage=rows,
        clock=parts.clock,
        steady=parts.around.steady,
        loop=parts.around.loop,
        registry=parts.registry,
        surroundings=parts.around,
    )
    return _Engine(fleet, shared, book)


class _Engine:
    def __init__(self, fleet: Fleet, shared: SimpleNamespace, book: ActBook) -> None:
        self._fleet = fleet
        self.book = book
        self.shared = shared
        self.cancel = fleet.cancel
        self.add_many = fleet.adding.add_many
        self.add_flow = fleet.adding.add_flow
        self.on_scheduled: Any = None
        self.on_clock_set: Any = None

    @property
    def stopping(self) -> bool:
        return self._fleet.stopping

    def look_at_clock(self) -> None:
        """Do nothing: the time is that of the server."""
