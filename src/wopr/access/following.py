"""How a queue gets to its tasks where they were, and wherever they move from there."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wopr.access.access import Access
from wopr.access.ownership import Ownership
from wopr.access.standby import Works
from wopr.access.starting import acquired
from wopr.domain.address import PostgresAddress, database_of
from wopr.domain.errors import QueueMovedError, StorageError, StorageFileError
from wopr.domain.moving import Moving
from wopr.engine.engine import Engine
from wopr.fleet.servertime import ServerTime
from wopr.ports.backend import Backend
from wopr.running.slots import Slots
from wopr.storage import arrived

log = logging.getLogger(__name__)

Reach = Callable[..., Access]
"""As :func:`wopr.access.kinds.access_to`."""


class FollowingAccess(Access):
    """The access of one home; once the queue has moved, that of the home where it is.

    What the code declares and hooks in, and the workers that are wanted here, stay the same.
    """

    to: Reach
    """Makes the access to another home."""
    _there: Access | None = None
    """That of the new home, from when it has moved."""
    _turns: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
    """Who opens the queue does it alone, so that nobody does at the old home any more."""

    @property
    def database(self) -> Path:
        """Where the queue is."""
        return super().database if self._there is None else self._there.database

    @database.setter
    def database(self, database: Path) -> None:
        if self._there is not None and self._there.closed:
            self._there = None
        if self._there is not None:
            self._there.database = database
        else:
            super(FollowingAccess, type(self)).database.fset(self, database)  # type: ignore[attr-defined]

    @property
    def storage(self) -> Any:
        """The storage, made on first access."""
        return super().storage if self._there is None else self._there.storage

    @property
    def server_time(self) -> ServerTime | None:
        """The time of the server that has the tasks, if one has."""
        return super().server_time if self._there is None else self._there.server_time

    async def learn_time(self) -> None:
        """Return once it is right."""
        if self._there is None:
            await super().learn_time()
        else:
            await self._there.learn_time()

    @property
    def slots(self) -> Mapping[str, Slots]:
        """The workers and what they run, by category; empty while closed."""
        return super().slots if self._there is None else self._there.slots

    @property
    def works(self) -> Works | None:
        """What works in this process."""
        return super().works if self._there is None else self._there.works

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that it is open on, while that runs."""
        return super().loop if self._there is None else self._there.loop

    @property
    def open(self) -> bool:
        """Whether there is something that can be asked."""
        return super().open if self._there is None else self._there.open

    @property
    def closed(self) -> bool:
        """Whether there is nothing at all to be closed."""
        return super().closed if self._there is None else self._there.closed

    def exists(self) -> bool:
        """Whether there is anything to read."""
        return super().exists() if self._there is None else self._there.exists()

    def registered(self, name: str) -> None:
        """Tell whatever works of a new name; in any thread."""
        if self._there is None:
            super().registered(name)
        else:
            self._there.registered(name)

    def categorised(self, category: str) -> None:
        """Tell whatever works what the code says about a category now."""
        if self._there is None:
            super().categorised(category)
        else:
            self._there.categorised(category)

    def check_workers(self) -> None:
        """Refuse workers where there can be none."""
        if self._there is None:
            super().check_workers()
        else:
            self._there.check_workers()

    @property
    def ownership(self) -> Ownership:
        """This queue's side of who has the file, if it is one."""
        return self._ownership

    # -- be moved -----------------------------------------------------------------

    def _owning(self, database: Path) -> Ownership:
        owning = super()._owning(database)
        owning.stop_to_move = self._stop_to_move
        return owning

    async def _stop_to_move(self, engine: Engine, grace: float, error: Exception) -> None:
        """Close the file; then go on with what is wanted here, wherever the queue is."""
        fire = await self.clockwork.let_go()
        try:
            await self._stop(engine, grace, error)
        finally:
            fire()
            self.standby.go_on()

    # -- open -----------------------------------------------------------------

    def at_hand(self) -> Backend | None:
        """Return what carries the verbs out, if it is open on this event loop already."""
        return super().at_hand() if self._there is None else self._there.at_hand()

    async def found(self, deadline: float | None = None) -> Backend | None:
        """Return what carries the verbs out, if there is a queue."""
        if self._there is not None:
            return await self._there.found(deadline)
        return await super().found(deadline)

    async def backend(self, deadline: float | None = None) -> Backend:
        """Return what carries the verbs out; open the queue, wherever it is, if need be.

        Raises:
            QueueMovedError: it has moved to where this process can't follow.
        """
        if (here := self.at_hand()) is not None:
            return here
        self.open_in.check(self.database)
        loop = asyncio.get_running_loop()
        if self._turns is None or self._turns[0] is not loop:
            self._turns = loop, asyncio.Lock()
        lock = self._turns[1]
        await acquired(lock, deadline, self.database)
        try:
            if self._there is not None:
                return await self._there.backend(deadline)
            return await super().backend(deadline)
        except QueueMovedError as error:
            if self._there is not None:
                raise
            return await self._followed(error, deadline)
        finally:
            lock.release()

    async def _followed(self, moved: QueueMovedError, deadline: float | None) -> Backend:
        moving = Moving.read(moved.moving)
        before = self.open_in, self._ownership
        try:
            there = await self._at(moving)
            self._there, self.open_in = there, there.open_in
            self._ownership = there.ownership
            backend = await there.backend(deadline)
        except StorageError as error:
            self._there = None
            self.open_in, self._ownership = before
            raise QueueMovedError(
                f"{moved} This process could not follow: {error}", moving=moved.moving
            ) from error
        log.warning("The queue of %s is at %s now, and used there.", moving.source, moving.target)
        if self.left_lines and there.keeping is not None:
            there.keeping.save_logs(self.left_lines)
        if isinstance(there.database, PostgresAddress):  # of a file, the owner is told
            self.standby.owned()
        return backend

    async def _at(self, moving: Moving) -> FollowingAccess:
        """Return the access to where the queue is now."""
        home = database_of(moving.target)
        if not isinstance(home, PostgresAddress):
            if moving.host != socket.gethostname() or not home.exists():
                raise StorageFileError(f"{home} is a file on {moving.host}, and not here.")
            await asyncio.to_thread(arrived, home, moving, self._settings.memory_limit)
        there = self.to(self._settings, home, None, self._registry, self._clock, self._rng)
        assert isinstance(there, FollowingAccess), "a queue moves between homes that it may leave"
        there.proof = moving.id
        there.events, there.foreground = self.events, self.foreground
        there.standby, there.clockwork = self.standby, self.clockwork
        there.services, there.as_service = self.services, self.as_service
        return there

    # -- close ----------------------------------------------------------------

    def stop_starting(self) -> None:
        """Start no task any more: the queue is about to be closed. In any thread."""
        if self._there is None:
            super().stop_starting()
        else:
            self._there.stop_starting()

    async def stop(self, grace: float) -> None:
        """Close what is open."""
        if self._there is None:
            await super().stop(grace)
        if self._there is not None:  # it may have followed while it was being stopped
            await self._there.stop(grace)
