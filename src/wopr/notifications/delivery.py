"""Deliver events through the queue: one task per event and handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tenacity import stop_after_delay, wait_exponential

from wopr.calls.options import Options
from wopr.core.task import AsyncTask
from wopr.domain.callables import is_async_callable
from wopr.domain.checks import check_label
from wopr.domain.errors import DeliveryFailedError, DeliveryRefusedError, InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.retry import RetryPolicy
from wopr.domain.status import TaskPriority
from wopr.notifications.event import CATEGORY, NotificationEvent
from wopr.queue.queue import TaskQueue

Handler = Callable[[NotificationEvent], Awaitable[Any]]
"""A coroutine function, or an object that is called like one, that delivers an event."""

TASK = "wopr.notify"
LONGEST_NAME = 100
TIMEOUT = 60.0
LONGEST_WAIT = 600.0
GIVE_UP_AFTER = timedelta(days=1)
RETRY = RetryPolicy(
    wait=wait_exponential(multiplier=2, max=LONGEST_WAIT),
    stop=stop_after_delay(GIVE_UP_AFTER),
    jitter=1.0,
)
"""2, 4, 8, … seconds, at most ten minutes, for a day."""


class Delivery:
    """The handlers of one queue by name, and the task that calls one of them."""

    def __init__(self, queue: TaskQueue, retry: object, timeout: float | timedelta) -> None:
        if TASK in queue.task_functions:
            raise InvalidCallError(
                "This queue has a NotificationService already; a second one would not know the "
                "handlers of the first. Use that one for all routes."
            )
        policy = RETRY if retry is None else RetryPolicy.of(retry)  # type: ignore[arg-type]
        policy = replace(
            policy,
            stop=policy.stop or RETRY.stop,
            dont_retry=(*policy.dont_retry, DeliveryRefusedError),
        )
        self._queue = queue
        self.handlers: dict[str, Handler] = {}
        self._task: AsyncTask[[str, NotificationEvent], None] = queue.task(
            name=TASK, category=CATEGORY, priority=TaskPriority.LOW, retry=policy, timeout=timeout
        )(self._deliver)

    def add(self, handler: Handler, name: str | None) -> str:
        """Take a handler in, and return its name.

        Raises:
            InvalidCallError: it can't be called, has no name, or another one has it.
        """
        if not is_async_callable(handler):
            raise InvalidCallError(
                "A handler is a coroutine function that takes the event, a Webhook or an "
                f"AppriseHandler, not {shown(handler)}."
            )
        given = name or getattr(handler, "name", None) or getattr(handler, "__name__", None)
        if given is None:
            raise InvalidCallError(
                f"{shown(handler)} has no name of its own. Waiting deliveries know a handler by "
                "its name, so give it one: route(…, name='ops')."
            )
        label = check_label(given, "the name of a handler", longest=LONGEST_NAME)
        if self.handlers.setdefault(label, handler) != handler:
            raise InvalidCallError(
                f"Another handler is named {label!r}. Waiting deliveries know handlers by their "
                "names: give this one a name of its own, with name=."
            )
        return label

    async def enqueue(
        self, event: NotificationEvent, names: list[str], at: datetime | None
    ) -> None:
        """Enqueue the delivery of an event to handlers, now or at a moment.

        Raises:
            PayloadTooLargeError: the event is over the limit for arguments.
            StorageError: the storage refused it.
        """
        options: Options = {} if at is None else {"run_at": at}
        await self._task.options(**options).enqueue_many([(name, event) for name in names])

    async def enqueue_later(self, event: NotificationEvent, name: str, at: datetime) -> str:
        """Enqueue one delivery at a moment; return the task's id.

        Raises:
            StorageError: the storage refused it.
        """
        return (await self._task.options(run_at=at).enqueue(name, event)).id

    async def cancel(self, task_id: str) -> None:
        """Cancel a delivery that waits."""
        await self._queue.cancel_task(task_id)

    async def _deliver(self, handler: str, event: NotificationEvent) -> None:
        found = self.handlers.get(handler)
        if found is None:
            raise DeliveryFailedError(
                f"No handler {handler!r} is routed in this process; there are: "
                f"{', '.join(sorted(self.handlers)) or 'none'}. It is tried again, for the case "
                "that the next deploy knows it."
            )
        await found(event)
