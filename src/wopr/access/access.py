"""How a queue gets to its tasks: it opens the storage, or reaches the owner of the file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wopr.access.clockwork import Clockwork
from wopr.access.services import Services
from wopr.calls.registry import Registry
from wopr.calls.snapshots import info_of
from wopr.config.settings import Settings
from wopr.domain.clock import Clock
from wopr.domain.errors import (
    OwnerGoneError,
    QueueClosedError,
    StorageError,
    StorageOwnedError,
)
from wopr.domain.task import TaskInfo, TaskRecord
from wopr.engine.engine import Engine
from wopr.engine.events import Events
from wopr.engine.foreground import Foreground
from wopr.engine.pools.pool import Pool
from wopr.engine.schedules.firing import AsService
from wopr.executors.choice import Executors
from wopr.ports.backend import Backend, LocalBackend
from wopr.remote.client import RemoteBackend
from wopr.remote.server import Server
from wopr.storage import open_storage

if TYPE_CHECKING:
    from wopr.queue.sync import LoopThread

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.05
SETTLING_SECONDS = 2.0
"""So long an owner that does not listen may be just opening, or closing."""
HANDOVER_SECONDS = 5.0
"""So long the file is left to a process that has asked for it."""


class Access:
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
        self._database = database
        self._factory = storage_factory
        self._registry = registry
        self._clock = clock
        self._rng = rng
        self._storage: Any = None
        self._engine: Engine | None = None
        self._remote: RemoteBackend | None = None
        self._server: Server | None = None
        self._backend: Backend | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock: asyncio.Lock | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._giving: asyncio.Task[None] | None = None
        self._given_until = 0.0
        self._workers = 0
        self.clockwork = Clockwork(self.backend)
        self.events = Events()
        self.services = Services()
        self.foreground = Foreground()
        self.bridging = threading.RLock()
        """Held to look at, or to change, the bridge."""
        self.bridge: LoopThread | None = None
        """Has the queue for all threads that have no event loop."""
        self.as_service: AsService | None = None
        """Makes a declared service identity the current one, for a ``with`` block."""

    @property
    def storage(self) -> Any:
        """The storage, made on first access."""
        if self._storage is None:
            self._storage = (
                self._factory()
                if self._factory is not None
                else open_storage(self._database, self._settings.memory_limit)
            )
        return self._storage

    @property
    def engine(self) -> Engine | None:
        """The engine of this process; ``None`` while closed, or if another process has the file."""
        return self._engine

    @property
    def pools(self) -> dict[str, Pool]:
        """The pools by category; empty while closed."""
        return self._engine.pools if self._engine is not None else {}

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that it is open on, while that runs."""
        loop = self._loop if self._backend is not None and self._open() else None
        return loop if loop is not None and loop.is_running() else None

    def exists(self) -> bool:
        """Whether there is anything to read, so that a read makes no file."""
        return self._backend is not None or self._factory is not None or self._database.exists()

    def info(self, record: TaskRecord) -> TaskInfo:
        """Return a snapshot of the record."""
        return info_of(record, self._registry)

    def registered(self, name: str) -> None:
        """Tell a running engine of a new name; in any thread."""
        if self._engine is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop = self._engine.shared.loop
                loop.call_soon_threadsafe(self._engine.registered, name)

    def categorised(self, category: str) -> None:
        """Tell a running engine what the code says about a category now."""
        if self._engine is not None and category in self._engine.pools:
            self._engine.control.prepare(self._engine.pools[category])

    async def backend(self) -> Backend:
        """Return what carries the verbs out; open it if need be.

        Raises:
            QueueClosedError: it is in use on another event loop, or shutting down.
            StorageOwnedError: another process owns the file and does not listen.
            StorageError: the storage can't be opened.
        """
        if self._backend is not None and self._open():
            if self._loop is not asyncio.get_running_loop():
                if self._loop is None or self._loop.is_closed():
                    raise QueueClosedError(
                        "The event loop that this queue was used on has ended without "
                        "`await queue.shutdown()`. Write `async with queue:` around its use; in "
                        "this process build a new queue."
                    )
                raise QueueClosedError(
                    "This queue is open on another event loop. Use it from other threads through "
                    "`with queue.sync() as sync: sync(queue.add_task, …)`, or build one queue per "
                    "event loop."
                )
            return self._backend
        if self._giving is not None:
            await asyncio.wait([self._giving])
        if self._lock is None or self._loop is not asyncio.get_running_loop():
            self._loop = asyncio.get_running_loop()
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._engine is not None and not self._engine.open:
                raise QueueClosedError("The queue is shutting down; wait for shutdown() to end.")
            if self._backend is None or not self._open():
                self._backend = await self._start()
            return self._backend

    def _open(self) -> bool:
        if self._engine is not None:
            return self._engine.open
        return self._remote is not None and self._remote.open

    async def _start(self) -> Backend:
        if self._remote is not None:  # its owner is gone
            remote, self._remote = self._remote, None
            await remote.close()
        self._remote = await self._new_owner(self._given_until)
        if self._remote is not None:
            return self._remote
        loop = asyncio.get_running_loop()
        until = loop.time() + SETTLING_SECONDS
        while True:
            engine = self._new_engine()
            self.events.attach(engine.shared)  # what recovery does is told too
            try:
                await self._whole_start(engine)
                return await self._own(engine)
            except StorageOwnedError as error:
                if self._factory is not None:
                    raise
                self._remote = await self._new_owner(loop.time() + LOOK_SECONDS)
                if self._remote is not None:
                    return self._remote
                if error.pid == os.getpid() or loop.time() > until:
                    raise

    def _new_engine(self) -> Engine:
        return Engine(
            _adapted(self.storage, self._registry, self._clock),
            self._registry,
            self._clock,
            self._rng,
            max_crashes=self._settings.max_crashes,
            window=self._settings.window,
            executors=Executors(
                self._settings.processes,
                self._settings.process_max_tasks,
                self._settings.process_memory_bytes,
                self._clock,
            ),
            foreground=self.foreground,
        )

    async def _own(self, engine: Engine) -> Backend:
        """Take the verbs over: this process has the file."""
        self._engine = engine
        self.foreground.on_release = engine.wake_background
        backend = LocalBackend(engine, self._settings)
        backend.schedules.firing.as_service = self.as_service
        if self._factory is None and hasattr(socket, "AF_UNIX"):
            self._server = Server(backend, self._database, self._hand_over)
            try:
                await self._server.start()
            except OSError as error:
                self._server = None
                log.warning(
                    "Other processes can't use %s while this one has it: no socket can be made "
                    "beside it (%s).",
                    self._database,
                    error,
                )
        return backend

    async def _new_owner(self, until: float) -> RemoteBackend | None:
        """Connect to whoever has the file, as soon as it listens; ``None`` if nobody does."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            remote = RemoteBackend(self._database)
            if await remote.connect():
                return remote
            await asyncio.sleep(LOOK_SECONDS)
        return None

    def _hand_over(self) -> bool:
        """Give the file up soon, if nothing is worked on here; whether that is so."""
        engine = self._engine
        if engine is None or engine.stopping or self._working(engine):
            return False
        loop = asyncio.get_running_loop()
        loop.call_later(LOOK_SECONDS, self._give, engine)  # the answer goes out before
        return True

    def _working(self, engine: Engine) -> bool:
        return self.clockwork.running or any(pool.workers for pool in engine.pools.values())

    def _give(self, engine: Engine) -> None:
        if engine is self._engine and not engine.stopping and not self._working(engine):
            log.info("Another process starts workers: it gets %s.", self._database)
            engine.stopping = True
            self._given_until = engine.shared.loop.time() + HANDOVER_SECONDS
            gone = OwnerGoneError(f"Another process has taken {self._database} over.")
            self._giving = asyncio.ensure_future(self._stop(engine, 0, gone))
            self._giving.add_done_callback(self._given)

    def _given(self, giving: asyncio.Task[None]) -> None:
        self._giving = None
        if not giving.cancelled() and (error := giving.exception()) is not None:
            log.error("%s could not be given up in order: %s", self._database, error)

    @staticmethod
    async def _whole_start(engine: Engine) -> None:
        """Start the engine; if the caller gives up meanwhile, end the start and close again.

        The file is opened in a thread, which nobody can call back.
        """
        starting = asyncio.ensure_future(engine.start())
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting])
            if not starting.cancelled() and starting.exception() is None:
                await engine.close()
            raise

    async def add_workers(self, category: str, count: int) -> None:
        """Add worker slots with names that no other slot ever had.

        An owner that works on nothing gives the file up for this.

        Raises:
            StorageOwnedError: another process owns the file: only the owner has workers.
        """
        await self.backend()
        await self._take_over()
        if self._settings.scheduler and self._engine is not None and not self._engine.stopping:
            await self.clockwork.start_beside_workers()
        if self._engine is not None and self._engine.stopping:
            raise QueueClosedError("The queue is shutting down; wait for shutdown() to end.")
        if self._engine is None:
            pid = self._remote.owner_pid if self._remote is not None else None
            raise StorageOwnedError(
                f"Workers run in the process that owns {self._database}, and that is process "
                f"{pid}. Start them there, stop that process first, or give this queue a file of "
                "its own with WOPR_TASKS_DATABASE. Adding and reading tasks works from here.",
                pid=pid,
            )
        prefix = f"{socket.gethostname()}-{os.getpid()}-{category}"
        names = [f"{prefix}-{self._workers + number}" for number in range(1, count + 1)]
        self._workers += count
        self._engine.heartbeat.start()
        self._engine.pool(category).add_workers(names)
        await self.services.start()

    async def _take_over(self) -> None:
        """Ask an owner that works on nothing for the file."""
        remote = self._remote
        if self._engine is not None or remote is None or remote.owner_pid == os.getpid():
            return
        if not await remote.hand_over():
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + HANDOVER_SECONDS
        while self._engine is None and loop.time() < until:
            await asyncio.sleep(LOOK_SECONDS)
            if self._remote is not None:
                remote, self._remote, self._backend = self._remote, None, None
                await remote.close()
            with contextlib.suppress(StorageOwnedError):
                await self.backend()

    async def stop(self, grace: float) -> None:
        """Close what is open; does nothing when nothing is."""
        if self._engine is None:
            await self.clockwork.stop()
        if self._remote is not None:
            remote, self._remote, self._backend = self._remote, None, None
            await remote.close()
        if self._giving is not None:
            await asyncio.wait([self._giving])
        engine = self._engine
        if engine is None:
            await self._registry.resources.close()  # tasks that were run directly opened them
            return
        engine.stopping = True
        if self._stopping is None:  # else another call is at it
            self._stopping = asyncio.ensure_future(self._stop(engine, grace))
        elif not grace:
            engine.shared.hurry.set()
        await asyncio.shield(self._stopping)  # a caller that gives up leaves nothing half closed

    async def _stop(self, engine: Engine, grace: float, error: Exception | None = None) -> None:
        try:
            await self.services.stop()
            await self.clockwork.stop()
            await engine.drain(grace)
            with contextlib.suppress(StorageError):  # closing says what became of it
                await engine.shared.storage.flush()
            await self.events.detach()
            if self._server is not None:
                server, self._server = self._server, None
                await server.close()
        finally:
            try:
                await self._registry.resources.close()
                await engine.close(error)
            finally:
                self._engine = self._backend = self._stopping = None
                self.foreground.on_release = None
                if self._factory is None:
                    self._storage = None


def _adapted(storage: Any, registry: Registry, clock: Clock) -> Any:
    """Return the storage itself, or an adapter around one that offers the seed's four calls."""
    if hasattr(type(storage), "submit"):
        return storage
    from wopr.storage.seed.adapter import SeedStorageAdapter

    return SeedStorageAdapter(storage, lambda record: info_of(record, registry), clock)
