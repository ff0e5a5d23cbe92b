"""What tests and simulations do with the access of a queue: set another stage for it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from wopr.access.clockwork import Clockwork
from wopr.access.local import LocalBackend
from wopr.access.ownership import Ownership
from wopr.access.process import OpenIn
from wopr.access.services import Services
from wopr.access.standby import Standby
from wopr.calls.registry import Registry
from wopr.domain.errors import OwnerGoneError
from wopr.engine.engine import Engine
from wopr.engine.events import Events
from wopr.engine.foreground import Foreground
from wopr.ports.backend import Backend

Wrap = Callable[[LocalBackend], LocalBackend]


class Dead(OpenIn):
    """A simulated process that died."""

    @property
    def parent(self) -> bool:
        """Whether there is nothing here to be closed."""
        return True

    def check(self, database: Path) -> None:
        """Refuse whatever is asked.

        Raises:
            OwnerGoneError: always.
        """
        raise OwnerGoneError(f"The simulated process that had {database} open is dead.")


class Stages:
    """The part of an access that only tests and simulations use."""

    database: Path
    clockwork: Clockwork
    events: Events
    foreground: Foreground
    open_in: OpenIn
    services: Services
    standby: Standby
    _backend: Backend | None
    _engine: Engine | None
    _factory: Callable[[], Any] | None
    _local: LocalBackend | None
    _lock: asyncio.Lock | None
    _loop: asyncio.AbstractEventLoop | None
    _ownership: Ownership
    _registry: Registry
    _rng: random.Random
    _stopping: asyncio.Task[None] | None
    _storage: Any
    _wraps: tuple[Wrap, ...]

    async def backend(self, deadline: float | None = None) -> Backend:
        """Return what carries the verbs out."""
        raise NotImplementedError

    def _owning(self, database: Path) -> Ownership:
        """Return what finds the owner of a file, or is it."""
        raise NotImplementedError

    def _standing_by(self) -> Standby:
        """Return what starts workers as soon as the file is here."""
        raise NotImplementedError

    @contextlib.contextmanager
    def elsewhere(
        self,
        database: Path,
        rng: random.Random,
        storage_factory: Callable[[], Any] | None = None,
    ) -> Iterator[None]:
        """Have another file, or storage, and another source of chance, for a ``with`` block.

        It must be closed at the begin and at the end; :func:`wopr.testing.isolated` sees to it.
        """
        before = self.database, self._factory, self._rng, self._storage
        self.database, self._factory = database, storage_factory
        self._rng, self._storage = rng, None
        try:
            yield
        finally:
            self.database, self._factory, self._rng, self._storage = before

    def anew(self) -> Self:
        """Return the access of the process that comes after this one: nothing is open there.

        It has what the code declares and hooks in. For simulations, in which a process may die:
        what is left of it keeps this access, on an event loop that does not run any more.
        """
        new = copy.copy(self)
        new.begin()
        self.events.begin_anew()
        self.services.begin_anew()
        self._registry.resources.begin_anew()
        return new

    def die(self) -> None:
        """Answer nobody any more: the process that this was simulated to be is dead."""
        self.open_in = Dead()

    def begin(self) -> None:
        """Have nothing open, and nothing of any other access; what is open is not closed."""
        self._engine = self._local = self._backend = self._storage = None
        self._loop = self._lock = self._stopping = None
        self._ownership = self._owning(self._ownership.database)
        self.open_in = OpenIn()
        self.foreground = Foreground()
        self.clockwork = self.clockwork.anew(self.backend)
        self.standby = self._standing_by()

    @contextlib.contextmanager
    def through(self, wrap: Wrap) -> Iterator[None]:
        """Let the verbs of this process's engine go through something, for a ``with`` block.

        Those of other processes, too; and of the next engine, should the queue be closed and
        opened again. An inner block goes through the outer ones.
        """
        before, self._wraps = self._wraps, (*self._wraps, wrap)
        self._rewrap()
        try:
            yield
        finally:
            self._wraps = before
            self._rewrap()

    def _wrapped(self, local: LocalBackend) -> LocalBackend:
        for wrap in self._wraps:
            local = wrap(local)
        return local

    def _rewrap(self) -> None:
        if self._local is not None and self._backend is not None:
            self._backend = self._wrapped(self._local)
            self._ownership.serve(self._backend)
