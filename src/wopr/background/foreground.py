"""While work in the foreground is under way, the background is suspended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")


class Suspendable(Protocol):
    """The part of a :class:`~wopr.background.BackgroundScheduler` that is needed here."""

    async def suspend_all(self) -> None:
        """Suspend what runs."""
        ...

    async def resume_all(self) -> None:
        """Resume what that suspended."""
        ...


class ForegroundScheduler:
    """Counts the work in the foreground: the first suspends the background, the last resumes it.

    Args:
        background_scheduler: what is suspended.
        logger: ``None`` means ``wopr.background``.
    """

    def __init__(
        self, background_scheduler: Suspendable, logger: logging.Logger | None = None
    ) -> None:
        self._background = background_scheduler
        self._logger = logger or logging.getLogger("wopr.background")
        self._active = 0
        self._suspended = False
        self._adjusting: asyncio.Task[None] | None = None

    @property
    def active_count(self) -> int:
        """How many pieces of work are in the foreground."""
        return self._active

    @property
    def is_active(self) -> bool:
        """Whether there is any."""
        return self._active > 0

    @asynccontextmanager
    async def context(self) -> AsyncIterator[None]:
        """Hold the background back; entered once it is suspended, left once it is resumed.

        May be nested, and cancelled at any moment.
        """
        self._active += 1
        try:
            await self._adjusted()
            yield
        finally:
            self._active -= 1
            await self._adjusted()

    async def execute(self, coro: Awaitable[T]) -> T:
        """Await the work in the foreground and return its result."""
        try:
            async with self.context():
                return await coro
        finally:
            if asyncio.iscoroutine(coro):
                coro.close()  # should it never have started

    async def _adjusted(self) -> None:
        """Wait until the background is as the count says; that goes on if the caller is gone."""
        if self._adjusting is None or self._adjusting.done():
            if self._suspended is self.is_active:
                return
            self._adjusting = asyncio.create_task(self._adjust())
        await asyncio.shield(self._adjusting)

    async def _adjust(self) -> None:
        while self._suspended is not self.is_active:
            self._suspended = self.is_active
            if self._suspended:
                self._logger.debug("The foreground is busy: the background is suspended.")
                await self._background.suspend_all()
            else:
                self._logger.debug("The foreground is free: the background is resumed.")
                await self._background.resume_all()
