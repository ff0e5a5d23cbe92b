"""How a queue gets to its tasks on PostgreSQL: each process works on the tables by itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wopr.access.access import Access
from wopr.access.linekeeping import LineKeeping
from wopr.access.sharedacts import SharedActs
from wopr.access.sharedasking import SharedAsking
from wopr.access.sharedkeeping import SharedKeeping
from wopr.access.sharedschedules import SharedScheduler
from wopr.access.sharedstanding import SharedStanding
from wopr.access.standby import Works
from wopr.access.starting import acquired, executors_of, mask_of, open_elsewhere
from wopr.calls.registry import Registry
from wopr.config.settings import Settings
from wopr.domain.address import PostgresAddress
from wopr.domain.clock import Clock
from wopr.domain.errors import (
    InvalidCallError,
    OwnerLeavingError,
    QueueClosedError,
    QueueMovedError,
)
from wopr.domain.steady import Steady
from wopr.fleet.archived import Archived
from wopr.fleet.backend import FleetBackend
from wopr.fleet.fleet import Fleet
from wopr.fleet.inside import Inside
from wopr.fleet.servertime import ServerTime
from wopr.ports.backend import AddBackend, Backend
from wopr.running.slots import Slots
from wopr.running.surroundings import Surroundings
from wopr.storage import open_archive
from wopr.storage.postgres import schema
from wopr.storage.postgres.connections import Connections
from wopr.storage.postgres.store import Store

MOST_CONNECTIONS = 8


class FleetAccess(Access):
    """Owns this process's side of a fleet."""

    def __init__(
        self,
        settings: Settings,
        address: PostgresAddress,
        storage_factory: Callable[[], Any] | None,
        registry: Registry,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        super().__init__(settings, address, storage_factory, registry, clock, rng)
        self._address = address
        self._time = ServerTime(clock)
        self._fleet: Fleet | None = None
        self._archived = Archived(None)
        self.retiring: SharedKeeping | None = None
        """Who retires old tasks here; ``None`` before it is open."""
        self._moved: QueueMovedError | None = None
        self._going: asyncio.Task[None] | None = None
        self._seen = False
        """Whether the database was seen to have the tables of a queue."""

    @property
    def database(self) -> Path:
        """The address of the database."""
        return self._address

    @database.setter
    def database(self, database: Path) -> None:
        if not isinstance(database, PostgresAddress):
            raise InvalidCallError(
                f"This queue is on PostgreSQL, {self._address}, and can get the address of another "
                f"database, but not a file, {database}. Build a new queue for that."
            )
        self._address, self._seen = database, False

    @property
    def server_time(self) -> ServerTime | None:
        """The time of the server, as far as this host knows it."""
        return self._time

    async def learn_time(self) -> None:
        """Connect, unless it is: what is asked first is how far this host's clock is off."""
        await self.backend()

    @property
    def slots(self) -> Mapping[str, Slots]:
        """The pools by category; empty while closed."""
        return {} if self._fleet is None else dict(self._fleet.pools)

    @property
    def works(self) -> Works | None:
        """What works in this process; ``None`` while closed."""
        return self._fleet

    @property
    def keeping(self) -> LineKeeping | None:
        """What runs tasks here and keeps what they log; ``None`` while closed."""
        return self._fleet

    @property
    def storage(self) -> Any:
        """The tables, while it is open."""
        return None if self._fleet is None else self._fleet.parts.store

    @property
    def closed(self) -> bool:
        """Whether there is nothing at all to be closed."""
        return self._fleet is None

    def exists(self) -> bool:
        """Whether there is anything to read: the server knows."""
        return True

    def registered(self, name: str) -> None:
        """Tell the fleet of a new name; in any thread."""
        self._soon(lambda fleet: fleet.registered(name))

    def categorised(self, category: str) -> None:
        """Tell the fleet what the code says about a category now."""
        self._soon(lambda fleet: fleet.wake(category))

    def _soon(self, do: Callable[[Fleet], None]) -> None:
        fleet = self._fleet
        if fleet is not None and not fleet.parts.around.loop.is_closed():
            fleet.parts.around.loop.call_soon_threadsafe(do, fleet)

    def _usable(self) -> bool:
        return self._moved is None and self._fleet is not None and self._fleet.open

    # -- open -----------------------------------------------------------------

    async def found(self, deadline: float | None = None) -> Backend | None:
        """Return what carries the verbs out, if the database has the tables of a queue."""
        if not self._seen and not self._usable():
            connections = Connections(self._address, 1, self._settings.call_seconds)
            self._seen = await schema.current(connections) is not None
            if not self._seen:
                return None
        return await self.backend(deadline)

    async def backend(self, deadline: float | None = None) -> Backend:
        """Return what carries the verbs out; connect if need be."""
        self.open_in.check(self.database)
        if self._moved is not None:
            if self._going is not None:
                await asyncio.wait([self._going])
            raise self._moved
        if self._backend is not None and self._usable():
            if self._loop is not asyncio.get_running_loop():
                raise open_elsewhere(self._loop)
            return self._backend
        if self._lock is None or self._loop is not asyncio.get_running_loop():
            self._loop = asyncio.get_running_loop()
            self._lock = asyncio.Lock()
        await acquired(self._lock, deadline, self.database)
        try:
            if self._fleet is not None and not self._fleet.open:
                raise QueueClosedError("The queue is shutting down; wait for shutdown() to end.")
            if self._backend is None or not self._usable():
                self.open_in.begin()
                self._backend = await self._joined()
            return self._backend
        finally:
            if self._fleet is None:
                self.open_in.end()
            self._lock.release()

    async def _joined(self) -> Backend:
        """Connect, and be one of the hosts."""
        fleet = self._new_fleet()
        await fleet.start(self.proof)
        self._fleet = fleet
        self.foreground.on_release = fleet.wake_all
        operators = SharedActs(fleet)
        schedules = SharedScheduler(fleet, operators.book)
        schedules.firing.as_service = self.as_service
        archive = open_archive(self._settings)
        self._archived = Archived(archive)
        self.retiring = SharedKeeping(fleet, operators, self._settings.retentions, archive)
        self.retiring.start()
        self.events.attach(fleet.parts)
        asking = SharedAsking(fleet.parts.store.connections, self._archived)
        keeping = self.retiring.rules
        standing = SharedStanding(fleet, schedules, asking, lambda: keeping.told)
        return FleetBackend(
            fleet,
            schedules,
            operators,
            asking,
            keeping,
            self._archived,
            standing,
            staff=self.standby.staff,
        )

    def _new_fleet(self) -> Fleet:
        settings, clock = self._settings, self._time
        connections = Connections(self._address, MOST_CONNECTIONS, settings.call_seconds)
        connections.on_moved = self._gone
        store = Store(connections)
        around = Surroundings(
            self._registry,
            clock,
            self._rng,
            asyncio.get_running_loop(),
            executors_of(settings, self._clock),
            store,
            Steady(clock),
            mask_of(settings),
        )
        return Fleet(
            store,
            around,
            clock,
            max_crashes=settings.max_crashes,
            held=lambda: self.foreground.active,
        )

    async def inside(self, connection: Any) -> AddBackend:
        """Return what adds tasks in a transaction of the application."""
        await self.backend()
        assert self._fleet is not None, "it is open"
        return Inside(self._fleet, connection)

    # -- close ----------------------------------------------------------------

    def stop_starting(self) -> None:
        """Start no task any more: the queue is about to be closed. In any thread."""
        if (fleet := self._fleet) is not None:
            fleet.stop_starting()

    async def stop(self, grace: float) -> None:
        """Leave the fleet. Does nothing when it is not open, or when a parent has it open."""
        if self.open_in.parent:
            return
        self.stop_starting()
        await self.standby.stop()
        if self._lock is not None and self._loop is asyncio.get_running_loop():
            async with self._lock:  # an opening that is under way has ended
                self.stop_starting()
        fleet = self._fleet
        if fleet is None:
            await self.clockwork.stop()
            await self._registry.resources.close()  # tasks that were run directly opened them
            return
        if self._stopping is None:  # else another call is at it
            self._stopping = asyncio.ensure_future(self._leave(fleet, grace))
        elif not grace:
            fleet.parts.hurry.set()
        await asyncio.shield(self._stopping)  # a caller that gives up leaves nothing half closed

    def _gone(self, moved: QueueMovedError) -> None:
        """Leave, since the queue is not here any more, and go on wherever it is."""
        fleet = self._fleet
        if fleet is None or self._moved is not None:
            return
        self._moved = moved
        fleet.stop_starting()
        self._going = asyncio.get_running_loop().create_task(self._go(fleet, moved))

    async def _go(self, fleet: Fleet, moved: QueueMovedError) -> None:
        fire = await self.clockwork.let_go()
        try:
            await self._leave(fleet, 0, OwnerLeavingError(str(moved)))
        finally:
            self.left_lines = fleet.lines.left()
            fire()
            self.standby.go_on()

    async def _leave(self, fleet: Fleet, grace: float, error: Exception | None = None) -> None:
        try:
            await self.services.stop()
            await self.clockwork.stop()
            if self.retiring is not None:
                await self.retiring.stop()
            await fleet.drain(grace)
            await self.events.detach()
        finally:
            try:
                await self._registry.resources.close()
                await fleet.close(error)
                await self._archived.close()
            finally:
                self._fleet = self._backend = self._stopping = None
                self.open_in.end()
                self.foreground.on_release = None
