"""The engine of a queue in this process: opened on first use, closed by shutdown."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wopr.config import Settings
from wopr.domain.clock import Clock
from wopr.domain.errors import QueueClosedError
from wopr.domain.task import TaskInfo, TaskRecord
from wopr.engine.engine import Engine
from wopr.engine.infos import info_of
from wopr.engine.pool import Pool
from wopr.engine.registry import Registry
from wopr.insights import Insights
from wopr.storage import open_storage


class LocalBackend:
    """Owns the storage and the engine of one queue."""

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
        self._opening: asyncio.Lock | None = None
        self._workers = 0

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
    def pools(self) -> dict[str, Pool]:
        """The pools by category; empty while closed."""
        return self._engine.pools if self._engine is not None else {}

    @property
    def insights(self) -> Insights:
        """The reads of the open engine."""
        assert self._engine is not None, "the callers open it first"
        return Insights(self._engine, self._settings)

    def exists(self) -> bool:
        """Whether there is anything to read, so that a read makes no file."""
        return self._engine is not None or self._factory is not None or self._database.exists()

    def info(self, record: TaskRecord) -> TaskInfo:
        """Return a snapshot of the record."""
        return info_of(record, self._registry)

    def registered(self, name: str) -> None:
        """Tell a running engine of a new name."""
        if self._engine is not None:
            self._engine.registered(name)

    async def engine(self) -> Engine:
        """Return the open engine; open it if need be.

        Raises:
            QueueClosedError: it is in use on another event loop, or shutting down.
            StorageError: the storage can't be opened.
        """
        engine = self._engine
        if engine is not None and engine.open:
            if engine.services.loop is not asyncio.get_running_loop():
                raise QueueClosedError(
                    "This queue is open on another event loop. Use it from other threads through "
                    "`with queue.sync() as sync: sync(queue.add_task, …)`, or build one queue per "
                    "event loop."
                )
            return engine
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._engine is None:
                self._engine = await self._start()
            elif not self._engine.open:
                raise QueueClosedError("The queue is shutting down; wait for shutdown() to end.")
            return self._engine

    async def _start(self) -> Engine:
        engine = Engine(
            _adapted(self.storage, self._registry),
            self._registry,
            self._clock,
            self._rng,
            max_crashes=self._settings.max_crashes,
            window=self._settings.window,
        )
        await engine.start()
        return engine

    async def add_workers(self, category: str, count: int) -> None:
        """Add worker slots with names that no other slot ever had."""
        engine = await self.engine()
        prefix = f"{socket.gethostname()}-{os.getpid()}-{category}"
        names = [f"{prefix}-{self._workers + number}" for number in range(1, count + 1)]
        self._workers += count
        engine.pool(category).add_workers(names)

    async def stop(self, grace: float) -> None:
        """Close the engine; does nothing when there is none."""
        engine = self._engine
        if engine is None:
            return
        if engine.open:
            try:
                await engine.stop(grace)
            finally:
                self._engine = None
                self._opening = None
                if self._factory is None:
                    self._storage = None
            return
        while self._engine is engine:  # another call is at it
            await asyncio.sleep(0.01)


def _adapted(storage: Any, registry: Registry) -> Any:
    """Return the storage itself, or an adapter around one that offers the seed's four calls."""
    if hasattr(type(storage), "submit"):
        return storage
    from wopr.storage.adapter import SeedStorageAdapter

    return SeedStorageAdapter(storage, lambda record: info_of(record, registry))
