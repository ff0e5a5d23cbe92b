"""Slots that running tasks lend while they wait for other tasks, and take back after that."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from wopr.running.attempt import Attempt, Worker

MOST_LENT = 1_000
"""So many tasks of a category wait without a slot at most: each is kept in memory."""


class ItsPool(Protocol):
    """What lending asks of the pool that it is for."""

    lends: bool
    """Whether the tasks of the category lend their slots."""

    def free(self, worker: Worker) -> None:
        """Let a worker take the next task."""
        ...

    def unwound(self, attempt: Attempt) -> None:
        """Let limits count an attempt no more."""
        ...

    def seat(self, attempt: Attempt) -> bool:
        """Give an attempt a free worker again, if its limits have room; whether it did."""
        ...


class Lending:
    """The lent slots of one pool. Those who come back are served before anything starts."""

    def __init__(self, pool: ItsPool, new_future: Callable[[], asyncio.Future[None]]) -> None:
        self._pool = pool
        self._new_future = new_future
        self.back: deque[tuple[Attempt, asyncio.Future[None]]] = deque()
        self._lent = 0

    def lend(self, attempt: Attempt) -> None:
        """Take the slot of an attempt that begins to wait, if the category lends."""
        if not self._pool.lends or attempt.slot is None or self._lent >= MOST_LENT:
            return
        worker, attempt.slot, attempt.lent = attempt.slot, None, True
        self._lent += 1
        self._pool.unwound(attempt)
        self._pool.free(worker)

    def take_back(self, attempt: Attempt) -> asyncio.Future[None] | None:
        """Return what is done once an attempt that waits no longer has its slot, or another."""
        if not attempt.lent:
            return None
        future = self._new_future()
        self.back.append((attempt, future))
        self.serve()
        return future

    def ended(self, attempt: Attempt) -> None:
        """Note that an attempt has ended, with its slot lent or not."""
        if attempt.lent:
            attempt.lent = False
            self._lent -= 1

    def serve(self) -> None:
        """Give slots that are free, and room in limits, to those who come back, in order."""
        while self.back:
            attempt, future = self.back[0]
            gone = attempt.over or attempt.context.cancelled or attempt.joins  # or waits once more
            wanted = attempt.lent and not gone
            if wanted and not self._pool.seat(attempt):
                return
            self.back.popleft()
            if wanted:
                self.ended(attempt)
            if not future.done():
                future.set_result(None)
