"""How a queue gets to its tasks: it opens the storage, or reaches the owner of the file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wopr.access.bridge import LoopThread
from wopr.access.carrying import AGAIN_SECONDS, ask_here, repeatable
from wopr.access.clockwork import Clockwork
from wopr.access.linekeeping import LineKeeping
from wopr.access.local import LocalBackend
from wopr.access.ownership import JUST_OPENING_SECONDS, LOOK_SECONDS, Ownership
from wopr.access.process import OpenIn
from wopr.access.services import Services
from wopr.access.stages import Stages, Wrap
from wopr.access.standby import Standby, Works
from wopr.access.starting import acquired, new_engine, open_elsewhere, whole_start
from wopr.access.timing import Time, Timing
from wopr.calls.registry import Registry
from wopr.config.settings import Settings
from wopr.domain.clock import Clock
from wopr.domain.errors import InvalidCallError, QueueClosedError, StorageError, StorageOwnedError
from wopr.domain.logline import LogLine
from wopr.engine.engine import Engine
from wopr.engine.events import Events
from wopr.engine.foreground import Foreground
from wopr.engine.pools.pool import Pool
from wopr.engine.schedules.firing import AsService
from wopr.insights.workings import Workings
from wopr.ports.backend import AddBackend, Backend
from wopr.remote.client import RemoteBackend
from wopr.running.slots import Slots
from wopr.storage import absolute, check_name, open_storage


class Access(Timing, Stages):
    """Owns the storage and the engine of one queue, or its connection to the owner's."""

    def __init__(
        self,
        settings: Settings,
        database: Path,
        storage_factory: Callable[[], Any] | None,
        registry: Registry,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._settings = settings
        self._factory = storage_factory
        self._registry = registry
        self._clock = clock
        self._rng = rng
        self._storage: Any = None
        self._engine: Engine | None = None
        self._local: LocalBackend | None = None
        self._backend: Backend | None = None
        self._wraps: tuple[Wrap, ...] = ()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock: asyncio.Lock | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._ownership = self._owning(absolute(database))
        self._closings = 0
        self.open_in = OpenIn()
        self.clockwork = Clockwork(self.backend, Time(self))
        self.events = Events()
        self.services = Services()
        self.standby = self._standing_by()
        self.foreground = Foreground()
        self.bridging = threading.RLock()
        """Held to look at, or to change, the bridge."""
        self.bridge: LoopThread | None = None
        """Has the queue for all threads that have no event loop."""
        self.as_service: AsService | None = None
        """Makes a declared service identity the current one, for a ``with`` block."""
        self.left_lines: Sequence[LogLine] = ()  # of tasks; the home that was left has them not
        self.proof = ""
        """The move that brought the queue here, as the home that was left says."""

    def _owning(self, database: Path) -> Ownership:
        return Ownership(
            database, self._settings, self._stop, self._working, self._ask_next, self._clock
        )

    def _standing_by(self) -> Standby:
        return Standby(
            self.backend,
            lambda: self.works,
            lambda: self._ownership.remote,
            self.clockwork if self._settings.scheduler else None,
            self.services,
        )

    # -- what there is --------------------------------------------------------

    @property
    def database(self) -> Path:
        """The file, wherever the process goes; another one counts from the next opening on."""
        return self._ownership.database

    @database.setter
    def database(self, database: Path) -> None:
        self._ownership.database = absolute(database)
        if self._factory is None and self._engine is None:
            self._storage = None  # made for the file before

    @property
    def storage(self) -> Any:
        """The storage, made on first access."""
        if self._storage is None:
            make = self._factory or (lambda: open_storage(self.database, self._settings))
            self._storage = make()
        return self._storage

    @property
    def made(self) -> Any:
        """The storage if it was made, else ``None``."""
        return self._storage

    @property
    def engine(self) -> Engine | None:
        """The engine of this process; ``None`` while closed, or if another process has the file."""
        return self._engine

    @property
    def local(self) -> LocalBackend | None:
        """The verbs over that engine; ``None`` like it."""
        return self._local

    @property
    def pools(self) -> dict[str, Pool]:
        """The pools by category; empty while closed."""
        return self._engine.pools if self._engine is not None else {}

    @property
    def slots(self) -> Mapping[str, Slots]:
        """The workers and what they run, by category; empty while closed."""
        return self.pools

    @property
    def works(self) -> Works | None:
        """What works in this process; ``None`` while closed, or if another process has the file."""
        return self._engine

    @property
    def keeping(self) -> LineKeeping | None:
        """What runs tasks here and keeps what they log; ``None`` like it."""
        return None if self._engine is None else Workings(self._engine)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that it is open on, while that runs."""
        loop = self._loop if self.open else None
        return loop if loop is not None and loop.is_running() else None

    @property
    def open(self) -> bool:
        """Whether there is an engine, or a connection to the owner, that can be asked."""
        return self._backend is not None and self._usable()

    @property
    def closed(self) -> bool:
        """Whether there is nothing at all to be closed; a shutdown under way is not over yet."""
        return self._backend is None and self._engine is None

    @property
    def owner_pid(self) -> int | None:
        """The process that owns the file, while it is another one and listens."""
        remote = self._ownership.remote
        return None if remote is None else remote.owner_pid

    def _usable(self) -> bool:
        if self._engine is not None:
            return self._engine.open
        remote = self._ownership.remote
        return remote is not None and remote.open

    def exists(self) -> bool:
        """Whether there is anything to read, so that a read makes no file."""
        if self._backend is not None or self._factory is not None:
            return True
        check_name(str(self.database))  # else it would look like a queue without tasks
        return self.database.exists()

    def registered(self, name: str) -> None:
        """Tell a running engine of a new name; in any thread."""
        if self._engine is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop = self._engine.shared.loop
                loop.call_soon_threadsafe(self._engine.registered, name)

    def categorised(self, category: str) -> None:
        """Tell a running engine what the code says about a category now."""
        if self._engine is not None and category in self._engine.pools:
            self._engine.controls.prepare(self._engine.pools[category])

    def check_workers(self) -> None:
        """Refuse workers where there can be none."""

    # -- open -----------------------------------------------------------------

    def at_hand(self) -> Backend | None:
        """Return what carries the verbs out, if it is open on this event loop already."""
        try:
            here = self._loop is asyncio.get_running_loop()
        except RuntimeError:  # in a forked child, to which backend() says so
            return None
        return self._backend if here and self._usable() else None

    async def found(self, deadline: float | None = None) -> Backend | None:
        """Return what carries the verbs out, if there is a queue; a look makes none."""
        return await self.backend(deadline) if self.exists() else None

    async def inside(self, connection: Any) -> AddBackend:
        """Return what adds tasks in a transaction of the application.

        Raises:
            InvalidCallError: no transaction of another database spans these tasks.
        """
        raise InvalidCallError(
            f"connection= is for a queue on PostgreSQL, and the tasks of this one are in "
            f"{self.database}: no transaction of {type(connection).__module__}."
            f"{type(connection).__qualname__} spans both. What is enqueued if, and only if, it is "
            "committed goes through an outbox: docs/guides/outbox.md. Nothing was enqueued."
        )

    async def backend(self, deadline: float | None = None) -> Backend:
        """Return what carries the verbs out; open it if need be.

        Args:
            deadline: time of the loop up to which another process is waited for.

        Raises:
            QueueClosedError: it is in use on another event loop, or shutting down.
            StorageOwnedError: another process owns the file and can't be asked.
            StorageForkedError: it was open when this process was forked.
            StorageError: the storage can't be opened.
            OwnerSilentError: it is still being opened at the deadline.
        """
        self.open_in.check(self.database)
        if self._backend is not None and self._usable():
            if self._loop is not asyncio.get_running_loop():
                raise open_elsewhere(self._loop)
            return self._backend
        await self._ownership.given()
        if self._lock is None or self._loop is not asyncio.get_running_loop():
            self._loop = asyncio.get_running_loop()
            self._lock = asyncio.Lock()
        await acquired(self._lock, deadline, self.database)
        try:
            if self._engine is not None and not self._engine.open:
                raise QueueClosedError("The queue is shutting down; wait for shutdown() to end.")
            if self._backend is None or not self._usable():
                self.open_in.begin()
                self._backend = await self._start(deadline)
            return self._backend
        finally:
            if self.closed:
                self.open_in.end()
            self._lock.release()

    async def _start(self, deadline: float | None) -> Backend:
        await self._ownership.leave()  # if there is one, its owner is gone
        remote = await self._ownership.find(deadline=deadline)
        if remote is not None:
            return self._client(remote)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            engine = new_engine(
                self.storage,
                self._registry,
                self._clock,
                self._rng,
                self._settings,
                self.foreground,
            )
            self.events.attach(engine.shared)  # what recovery does is told too
            try:
                await whole_start(engine)
                return await self._own(engine)
            except StorageOwnedError as error:
                if self._factory is not None:
                    raise
                coming = self._ownership.coming()  # else it has listened before it is looked for
                remote = await self._ownership.find(loop.time() + LOOK_SECONDS, deadline=deadline)
                if remote is not None:
                    return self._client(remote)
                if error.pid == os.getpid() and not coming and self._ownership.is_own():
                    raise
                until = began + (self._settings.call_seconds if coming else JUST_OPENING_SECONDS)
                if loop.time() > (until if deadline is None else min(until, deadline)):
                    raise self._ownership.unreachable(error) from None

    def _client(self, remote: RemoteBackend) -> Backend:
        self.standby.watch(remote)
        return remote

    async def _own(self, engine: Engine) -> Backend:
        """Take the verbs over: this process has the file."""
        self._engine = engine
        self.foreground.on_release = engine.wake_background
        local = self._local = LocalBackend(engine, self.standby.staff)
        local.schedules.firing.as_service = self.as_service
        backend = self._wrapped(local)
        await self._ownership.take(engine, backend, shared=self._factory is None)
        self.standby.owned()
        return backend

    # -- work -----------------------------------------------------------------

    def _working(self, engine: Engine) -> bool:
        pools = engine.pools.values()
        return bool(
            self.clockwork.running or self.standby.wanted or any(pool.workers for pool in pools)
        )

    async def _ask_next(self, seconds: float | None, verb: str, params: tuple[Any, ...]) -> Any:
        """Ask the next owner, who may be this process, what the last one did not do."""
        loop, closings = asyncio.get_running_loop(), self._closings
        until = None if seconds is None else loop.time() + seconds
        while True:
            backend = await self.backend(until)
            try:
                if isinstance(backend, RemoteBackend):
                    return await backend.ask(seconds, verb, params)
                return await ask_here(backend, self._settings.max_args_bytes, verb, params)
            except StorageError as error:
                if closings != self._closings or not repeatable(backend, error, verb):
                    raise
                await asyncio.sleep(AGAIN_SECONDS)

    # -- close ----------------------------------------------------------------

    def stop_starting(self) -> None:
        """Start no task any more: the queue is about to be closed. In any thread."""
        if (engine := self._engine) is not None:
            engine.stop_starting()

    async def stop(self, grace: float) -> None:
        """Close what is open, or is just being opened.

        Does nothing when nothing is, or when a parent has it open.
        """
        if self.open_in.parent:
            return
        self._closings += 1
        self.stop_starting()
        await self.standby.stop()
        if self._lock is not None and self._loop is asyncio.get_running_loop():
            async with self._lock:  # an opening that is under way has ended
                self.stop_starting()
        if self._engine is None:
            await self.clockwork.stop()
        if self._ownership.remote is not None:
            self._backend = None
            self.open_in.end()
        await self._ownership.leave_all()
        await self._ownership.given()
        self._ownership.forget_receiver()
        engine = self._engine
        if engine is None:
            await self.standby.stop()  # what a move that was under way was to go on with
            await self.clockwork.stop()
            await self._registry.resources.close()  # tasks that were run directly opened them
            return
        if self._stopping is None:  # else another call is at it
            self._stopping = asyncio.ensure_future(self._stop(engine, grace))
        elif not grace:
            engine.shared.hurry.set()
        await asyncio.shield(self._stopping)  # a caller that gives up leaves nothing half closed

    async def _stop(self, engine: Engine, grace: float, error: Exception | None = None) -> None:
        try:
            await self.services.stop()
            await self.clockwork.stop()
            await engine.drain(grace, error)
            with contextlib.suppress(StorageError):  # closing says what became of it
                await engine.shared.storage.flush()
            await self.events.detach()
            await self._ownership.listen_no_more()
        finally:
            try:
                await self._registry.resources.close()
                await engine.close(error)
            finally:
                self._engine = self._local = self._backend = self._stopping = None
                self.open_in.end()
                self._ownership.give_up()
                self.foreground.on_release = None
                if self._factory is None:
                    self._storage = None
