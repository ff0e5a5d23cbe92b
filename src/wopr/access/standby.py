"""Workers run in whichever process owns the file: this one stands by until it does."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import shlex
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from wopr.access.clockwork import Clockwork
from wopr.access.services import Services
from wopr.access.starting import know_all_secrets
from wopr.domain.checks import check_label
from wopr.domain.errors import InvalidCallError, OwnerGoneError, QueueClosedError, WoprError
from wopr.domain.spoken import counted
from wopr.remote.client import RemoteBackend

log = logging.getLogger(__name__)

AGAIN_SECONDS = 0.5
"""So long it is waited before a file that could not be opened is tried again."""
LONGEST_SECONDS = 30.0
"""And so long at most, where that fails again and again."""
MOST_STAFFED = 10_000
"""So many workers a process has at most if others add some."""
HANDOVER_SECONDS = 5.0
"""So long a call that starts workers waits for a file that its owner gives up for them."""

_BESIDE_ANOTHER = (
    "Another TaskQueue of this process (pid %s) has the file open: the workers of this one stand "
    "by until that one is shut down, and tasks run there, with the functions that are registered "
    "there. Shut that one down first: await queue.shutdown(). Where it can't be reached any more, "
    "as after a notebook's cell that makes a queue was run again, restart the process."
)


class Works(Protocol):
    """What runs tasks in this process: the engine of a file, or one host's side of a fleet."""

    @property
    def open(self) -> bool:
        """Whether it can be asked."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether a shutdown was asked for: nothing starts any more."""
        ...

    async def answers(self) -> None:
        """Return once the storage has answered a read, after what was written before.

        Raises:
            StorageError: it fails.
        """
        ...

    async def follow(self, category: str) -> None:
        """Take over what the tasks of a category declare, before its workers start."""
        ...

    def begin_work(self) -> None:
        """Get ready: workers are about to start."""
        ...

    def add_workers(self, category: str, names: list[str]) -> None:
        """Add workers of a category."""
        ...

    async def staffed(self) -> None:
        """Let others know of the workers that were added."""
        ...


class Standby:
    """What this process does as soon as it owns the file, and how it comes to own it.

    Args:
        open_queue: opens the file, or connects to its owner, who is then given to :meth:`watch`.
        engine: gives the engine, while the file is here.
        owner: gives the connection to the owner, while it is elsewhere.
        clockwork: started beside the workers; ``None``: no schedules are fired.
        services: started with the workers.
    """

    def __init__(
        self,
        open_queue: Callable[[], Awaitable[Any]],
        engine: Callable[[], Works | None],
        owner: Callable[[], RemoteBackend | None],
        clockwork: Clockwork | None,
        services: Services,
    ) -> None:
        self._open = open_queue
        self._engine = engine
        self._owner = owner
        self._clockwork = clockwork
        self._services = services
        self._watching: asyncio.Task[None] | None = None
        self._asked: RemoteBackend | None = None
        """The owner that knows that this process wants to have workers."""
        self._stops = 0
        self._numbers = itertools.count(1)
        """Of slots, so that none has the name of another one."""
        self._begun: dict[str, int] = {}
        """How many of the wanted workers run, by category."""
        self.wanted: dict[str, int] = {}
        """How many workers there are to be, by category, until the queue is shut down here."""
        self.works = asyncio.Event()
        """Set once they run here."""

    async def add(self, category: str, count: int) -> None:
        """Have so many more workers of a category, here or wherever the file is.

        An owner that works on nothing gives the file up for this. Else this process stands by.

        Raises:
            QueueClosedError: the queue was shut down meanwhile.
            StorageOwnedError: another process owns the file and can't be asked.
        """
        stops = self._stops
        await self._open()
        self._check_open(stops)
        self._want(category, count)
        try:
            owner = self._owner()
            if self._engine() is None and owner is not None and owner.in_this_process:
                log.warning(_BESIDE_ANOTHER, owner.owner_pid)
            elif self._engine() is None and owner is not None and await self._ask(owner):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.works.wait(), HANDOVER_SECONDS)
            if self._engine() is not None:
                await self._begin()
        except Exception:
            if stops == self._stops and not self._want(category, -count):
                del self.wanted[category]
            raise
        self._check_open(stops)

    async def staff(self, category: str, count: int) -> int:
        """Add workers to those that run here, for somebody elsewhere; return how many there are.

        Raises:
            InvalidCallError: none run here, there would be too many, or it is no category.
        """
        category = check_label(category, "category")
        if not self.wanted or self._engine() is None:
            raise InvalidCallError(
                f"Process {os.getpid()}, which has the queue, runs no workers, so there is nothing "
                f"to add {count} to: what they would run is not known there. Start them where the "
                f"functions are: wopr worker MODULE:QUEUE -c {shlex.quote(f'{category}={count}')}"
            )
        total = sum(self.wanted.values())
        if total + count > MOST_STAFFED:
            raise InvalidCallError(
                f"Process {os.getpid()} has {counted(total, 'worker')}, and {count} more would be "
                f"more than {MOST_STAFFED:,}. Nothing was started. Start another "
                "process, on PostgreSQL."
            )
        await self.add(category, count)
        return self.wanted[category]

    def _want(self, category: str, more: int) -> int:
        count = self.wanted[category] = self.wanted.get(category, 0) + more
        return count

    def _check_open(self, stops: int) -> None:
        """Refuse to go on if a shutdown came since there had been so many."""
        engine = self._engine()
        if engine is not None and engine.stopping:
            raise QueueClosedError("The queue is shutting down; wait for shutdown() to end.")
        if stops != self._stops:
            raise QueueClosedError("The queue was shut down while these workers were starting.")

    async def _begin(self) -> None:
        """Start those of the wanted workers that don't run yet; the file is here."""
        stops = self._stops
        if self._clockwork is not None:
            try:
                await self._clockwork.start_beside_workers()
            finally:  # whatever else became of it then
                self._check_open(stops)
        engine = self._engine()
        if engine is None:
            return  # the file was given up meanwhile
        know_all_secrets()
        for category in list(self.wanted):
            await engine.follow(category)
            self._check_open(stops)
        engine.begin_work()
        for category, count in self.wanted.items():
            missing = count - self._begun.get(category, 0)
            self._begun[category] = count
            prefix = f"{socket.gethostname()}-{os.getpid()}-{category}"
            names = [f"{prefix}-{next(self._numbers)}" for _ in range(missing)]
            engine.add_workers(category, names)
        await engine.staffed()
        await self._services.start()
        self.works.set()

    async def _ask(self, owner: RemoteBackend) -> bool:
        """Ask an owner for the file; return whether it gives it up at once.

        Else this process is the next one to get it, after those that have asked before.
        """
        if owner is self._asked:
            return False
        self._asked = owner
        try:
            return await owner.hand_over()
        except OwnerGoneError:
            return True

    def watch(self, owner: RemoteBackend) -> None:
        """Take the file when this owner goes, if it is for this process or wanted here."""
        self._watching = asyncio.create_task(self._watch(owner))

    async def _watch(self, owner: RemoteBackend) -> None:
        if self.wanted:
            with contextlib.suppress(WoprError):  # it does not answer: it is asked when it goes
                await self._ask(owner)
        await owner.ended.wait()
        while owner.receiver or self.wanted:
            try:
                await self._open()
                return
            except (WoprError, OSError) as error:
                log.warning("The queue can't be taken over yet: %s", error)
            await asyncio.sleep(AGAIN_SECONDS)

    def owned(self) -> None:
        """Start the wanted workers: this process has got the file."""
        if self.wanted:
            self._watching = asyncio.create_task(self._begin_at_last())

    async def _begin_at_last(self) -> None:
        while True:
            try:
                await self._begin()
                return
            except (WoprError, OSError) as error:
                log.error("The workers of this process can't be started yet: %s", error)
            await asyncio.sleep(AGAIN_SECONDS)

    def go_on(self) -> None:
        """Open the queue again, wherever it is then, for the workers that are wanted."""
        self._begun.clear()
        self._asked = None
        if self.wanted:
            self._watching = asyncio.create_task(self._come_back())

    async def _come_back(self) -> None:
        seconds = AGAIN_SECONDS
        while self.wanted:
            try:
                await self._open()
                return
            except (WoprError, OSError) as error:
                log.warning("The workers of this process can't go on yet: %s", error)
            await asyncio.sleep(seconds)
            seconds = min(2 * seconds, LONGEST_SECONDS)

    async def stop(self) -> None:
        """Stand by no more, and want nothing. Idempotent."""
        watching, self._watching = self._watching, None
        self._stops += 1
        self._asked = None
        self._begun.clear()
        self.wanted.clear()
        self.works = asyncio.Event()
        if watching is not None and watching is not asyncio.current_task():
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
