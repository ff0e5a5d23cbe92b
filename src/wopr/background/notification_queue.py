"""Delivers what a notification service has collected, in the background."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from wopr.background.schedulable import BackgroundPriority, TaskState
from wopr.background.task import BackgroundTask, was_asked_to_stop
from wopr.domain.guarded import safe_text, shown

Handler = Callable[[Any], Awaitable[object]]


class NotificationSource(Protocol):
    """The part of a notification service that is needed here."""

    @property
    def external_handlers(self) -> Sequence[Handler]:
        """Coroutine functions that take one event, in order."""
        ...

    @property
    def external_handler_queue(self) -> asyncio.Queue[Any]:
        """The events that wait for delivery."""
        ...


class NotificationQueueTask(BackgroundTask[None]):
    """Hands each event of the service's queue to all handlers, one after the other.

    Args:
        notification_service: has ``external_handlers`` and ``external_handler_queue``.
        poll_interval: seconds of rest between two events. It waits on the queue, so nothing
            is polled.
        logger: ``None`` means ``wopr.background``.
        handler_timeout: seconds that one handler may take for one event.

    What a handler raises is logged, and the next one gets the event. ``suspend`` lets the
    handler that runs finish; the others get the event after ``resume``. ``stop`` lets all
    finish; if its caller gives up before, the event goes back into the queue.
    """

    def __init__(
        self,
        notification_service: NotificationSource,
        poll_interval: float = 1.0,
        logger: logging.Logger | None = None,
        *,
        handler_timeout: float = 5.0,
    ) -> None:
        super().__init__("notification_queue", BackgroundPriority.LOW, logger)
        self._service = notification_service
        self._poll_interval = poll_interval
        self._handler_timeout = handler_timeout
        self._event: Any = None
        self._waiting: deque[Handler] | None = None  # for the event; None: there is no event
        self._rested = True

    def get_progress(self) -> dict[str, Any]:
        """Return ``{"running": bool, "queued_events": int}``; the event in hand not counted."""
        queued = self._service.external_handler_queue.qsize()
        return {**super().get_progress(), "queued_events": queued}

    async def take(self) -> None:
        """Wait for an event, unless one is in hand that was suspended half-way."""
        if self._waiting is not None:
            return
        if not self._rested:
            await asyncio.sleep(self._poll_interval)
            self._rested = True
        self._event = await self._service.external_handler_queue.get()
        self._waiting = deque(self._service.external_handlers)

    async def handle(self, work: None) -> None:
        """Hand the event to the handlers that have not had it yet."""
        assert self._waiting is not None, "take() has taken one"
        while self._waiting:
            if self.state is TaskState.SUSPENDED:
                return
            if not await self._deliver(self._waiting[0]):
                return
            self._waiting.popleft()
        self._done()

    def stopped(self) -> None:
        """Put an event that not all handlers had back into the queue, for all of them."""
        if self._waiting is None:
            return
        try:
            self._service.external_handler_queue.put_nowait(self._event)
        except asyncio.QueueFull:
            return  # then it stays in hand for the next start
        self._done()

    def _done(self) -> None:
        self._service.external_handler_queue.task_done()
        self._event = self._waiting = None
        self._rested = False

    async def _deliver(self, handler: Handler) -> bool:
        """Call the handler; return whether it is done with the event, well or not."""
        limit = asyncio.timeout(self._handler_timeout)
        try:
            async with limit:
                await handler(self._event)
        except asyncio.CancelledError:
            if was_asked_to_stop():
                raise
            self._logger.exception("The handler %s cancelled itself.", _name(handler))
        except Exception as error:
            if limit.expired() and self.state is TaskState.STOPPED:
                return False  # stop() came meanwhile: give the event back instead
            self._logger.exception(
                "The handler %s failed for %s: %s",
                _name(handler),
                shown(self._event),
                f"longer than {self._handler_timeout:g} s" if limit.expired() else safe_text(error),
            )
        return True


def _name(handler: Handler) -> str:
    return str(getattr(handler, "__name__", handler))
