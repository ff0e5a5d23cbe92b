"""Bounded backlogs: an enqueue waits, is refused, or pushes out the oldest tasks."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime

from wopr.domain.clock import naive_now
from wopr.domain.errors import BacklogFullError
from wopr.domain.limits import Limit, OnFull
from wopr.domain.spoken import counted
from wopr.domain.status import CLAIMABLE, TaskPriority
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.engine.shared import Shared
from wopr.ports.storage import PAGE_BYTES, weight

Cancel = Callable[[str, str], Awaitable[bool]]


class _ChangedError(Exception):
    """The limit has changed: look again."""


class Backlog:
    """Counts the waiting tasks of one category, exactly: those on disk and those on their way."""

    def __init__(self, limit: Limit, shared: Shared, cancel: Cancel) -> None:
        self.limit = limit
        self._shared = shared
        self._cancel = cancel
        self._count = 0
        self._coming = 0
        self._counted = shared.loop.create_future()
        self._changes = 0
        self._closed = False
        self._error: Exception | None = None
        """What those are told who come after the end."""
        self._callers: deque[tuple[int, asyncio.Future[None]]] = deque()
        shared.observers.append(self._observe)

    async def count(self) -> None:
        """Find out how many there are. Callers wait until that is known."""
        storage, category = self._shared.storage, self.limit.category
        while not self._counted.done():
            await storage.flush()
            await asyncio.sleep(0)  # what was written is told in the loop
            changes = self._changes
            found = await storage.backlog(category)
            if changes == self._changes and not self._counted.done():
                self._count = found
                self._counted.set_result(None)

    def change(self, limit: Limit) -> None:
        """Let another limit count; who waits goes on waiting, in order."""
        self.limit = limit
        self._let_in()

    def close(self, error: Exception | None = None) -> None:
        """Count no longer; who waits for room may go on, or gets the error."""
        self._closed, self._error = True, error
        if self._observe in self._shared.observers:
            self._shared.observers.remove(self._observe)
        if not self._counted.done():
            self._counted.set_result(None)
        while self._callers:
            number, caller = self._callers.popleft()
            if caller.done():
                continue
            if error is not None:
                caller.set_exception(error)
            else:
                self._coming += number
                caller.set_result(None)

    def _observe(self, record: TaskRecord, transition: Transition) -> None:
        if record.category == self.limit.category:
            before = transition.from_status in CLAIMABLE
            after = transition.to_status in CLAIMABLE
            if before is not after:
                self._changes += 1
                self._count += 1 if after else -1
                if before:
                    self._let_in()

    def _let_in(self) -> None:
        """Give room to those who wait, in order: it is theirs from this moment on."""
        while self._callers:
            number, caller = self._callers[0]
            if not caller.done():
                if self.limit.on_full is OnFull.WAIT and number <= (self.limit.backlog or 0):
                    if self._over(number) > 0:
                        return
                    self._coming += number
                    caller.set_result(None)
                else:  # it can't wait for this any more: it looks again
                    caller.set_exception(_ChangedError())
            self._callers.popleft()

    async def admit(self, number: int) -> None:
        """Make room for ``number`` tasks: they count from now on, until :meth:`came`.

        Raises:
            BacklogFullError: there is no room, and the policy does not make any.
        """
        await asyncio.shield(self._counted)
        if self._error is not None:
            raise self._error
        while not self._closed and (self._callers or self._over(number) > 0):
            self._refuse(number)
            if number > (self.limit.backlog or 0):
                raise self._full(number)
            if self.limit.on_full is OnFull.DROP_OLDEST:
                await self._drop(self._over(number), number)
            else:
                with contextlib.suppress(_ChangedError):
                    await self._wait(number)
                    return
        self._coming += number

    async def _wait(self, number: int) -> None:
        caller: asyncio.Future[None] = self._shared.loop.create_future()
        self._callers.append((number, caller))
        try:
            await caller
        except asyncio.CancelledError:
            if caller.done() and not caller.cancelled():
                self._coming -= number  # the room it was given is somebody else's
            self._let_in()
            raise

    def _over(self, number: int) -> int:
        return self._count + self._coming + number - (self.limit.backlog or 0)

    async def check(self, number: int) -> None:
        """Refuse so many new tasks, if that is the policy and there is no room.

        Raises:
            BacklogFullError: there is no room.
        """
        await asyncio.shield(self._counted)
        self._refuse(number)

    def _refuse(self, number: int) -> None:
        if self.limit.on_full is OnFull.REFUSE and self._over(number) > 0:
            raise self._full(number)

    def _full(self, number: int) -> BacklogFullError:
        category, most = self.limit.category, self.limit.backlog or 0
        return BacklogFullError(
            f"The backlog of category {category!r} has {self._count:,} of at most "
            f"{counted(most, 'task')}, so {number:,} more "
            f"{'was' if number == 1 else 'were'} refused; nothing was written. Try "
            f"again later, start more workers, or change it: wopr limits set "
            f"{category} --backlog N --on-full wait"
        )

    def came(self, number: int) -> None:
        """Note that what was admitted is on disk and counted there, or was not written."""
        self._coming -= number
        self._let_in()

    async def _drop(self, number: int, wanted: int) -> None:
        """Cancel the oldest tasks."""
        now = naive_now(self._shared.clock)
        found = await self._oldest(max(number, 1), now)
        if not found and self._over(wanted) > 0:  # all of them wait for others
            raise self._full(wanted)
        for record in found:
            await self._cancel(record.id, "backlog full")

    async def _oldest(self, number: int, now: datetime) -> list[TaskRecord]:
        storage, category = self._shared.storage, self.limit.category
        await storage.flush()
        found: list[TaskRecord] = []
        whole: int | None = None  # the seq up to which nothing is missing
        for priority in TaskPriority:
            lane = category, int(priority), 0, now, ()
            page = await storage.ready(*lane, number, most_bytes=PAGE_BYTES)
            if sum(map(weight, page)) >= PAGE_BYTES:  # large ones: there may be more of them
                whole = page[-1].seq if whole is None else min(whole, page[-1].seq)
            found += page
        if len(found) < number and whole is None:
            found += await storage.delayed(category, now, [], number)
        oldest = sorted(found, key=lambda record: record.seq)[:number]
        return [record for record in oldest if whole is None or record.seq <= whole]
