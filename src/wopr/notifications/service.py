"""``NotificationService``: emit events, and route them to handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, Unpack

from wopr.domain.alertrule import AlertRule
from wopr.domain.checks import check_count, check_seconds
from wopr.domain.clock import Clock, IdFactory, SystemClock, naive_now
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.leftout import names_options
from wopr.domain.level import NotificationLevel
from wopr.notifications.alertbook import AlertBook, AlertOptions
from wopr.notifications.delivery import TIMEOUT, Delivery, Handler
from wopr.notifications.event import (
    CATEGORY,
    NotificationEvent,
    check_category,
    check_level,
    new_event,
)
from wopr.notifications.memory import MAX_SUBSCRIBER_QUEUE, ExternalHandler, Memory
from wopr.notifications.router import Router
from wopr.notifications.routing import (
    DEDUP_SECONDS,
    QuietHours,
    RateLimit,
    Route,
    categories_of,
)
from wopr.notifications.watch import Watch
from wopr.queue.face import inside
from wopr.queue.queue import TaskQueue

WORKERS = 2


class NotificationService:
    """Events for people: kept in memory, told to subscribers, delivered to handlers.

    Args:
        queue: delivers what is routed, durably; and its tasks are what alerts are about.
            ``None``, or a queue that is switched off: in memory only.
        clock: source of time.
        retry: how deliveries are retried, as with ``@queue.task(retry=…)``; ``None``: after 2, 4,
            8, … seconds, at most ten minutes. Without a ``stop`` it is for a day.
        timeout: seconds that one delivery may take.
        workers: how many deliveries may run at once, where :meth:`start` starts workers.

    ``async with queue, service:`` runs deliveries and alerts.

    Raises:
        InvalidCallError: a value can't be what it has to be, or the queue has a service already.
    """

    def __init__(
        self,
        queue: TaskQueue | None = None,
        *,
        clock: Clock | None = None,
        retry: Any = None,
        timeout: float | timedelta = TIMEOUT,
        workers: int = WORKERS,
    ) -> None:
        if queue is not None and not isinstance(queue, TaskQueue):
            raise InvalidCallError(
                f"NotificationService() takes a TaskQueue or nothing, not {shown(queue)}. A clock "
                "is given by clock=."
            )
        own = SystemClock() if queue is None else inside(queue).time
        self._clock: Clock = clock or own
        self._workers = check_count(workers, "workers", least=1, most=10_000)
        self._ids = IdFactory()
        self._memory = Memory()
        self._queue: TaskQueue | None = None
        if queue is not None:
            self._queue = queue
            self._delivery = Delivery(queue, retry, timeout)
            self._router = Router(self._delivery, self._new_id)
            self._book = AlertBook(queue, self._clock)
            self._watch = Watch(queue, self._book, self.emit, self._clock)
            queue.add_service(self)

    def _new_id(self) -> str:
        return self._ids.new(naive_now(self._clock))

    # -- events --------------------------------------------------------------

    async def emit(
        self,
        category: str,
        level: NotificationLevel | str,
        title: str,
        message: str = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> NotificationEvent:
        """Tell an event. When this returns, its deliveries are on disk.

        From synchronous code: ``sync(service.emit, …)``, see ``queue.sync()``.

        Args:
            category: any name; routes choose by it.
            level: info, warning, error or critical.
            title: one line, at most 500 characters.
            message: the rest.
            metadata: JSON values. ``dedup_key``: events with the same one are repeats;
                ``force_external``: every route takes the event.

        Raises:
            InvalidCallError: a value can't be what it has to be; nothing was written.
            StorageError: it is not known which deliveries were enqueued.
        """
        event = new_event(
            self._new_id(), self._clock.now(), category, level, title, message, metadata
        )
        if self._queue is not None and self._queue.enabled:
            await self._router.deliver(event)
        self._memory.add(event)
        return event

    def get_recent(self, count: int = 50, category: str | None = None) -> list[dict[str, Any]]:
        """Return the newest events of this process, the newest first; 200 are kept."""
        wanted = None if category is None else check_category(category)
        found = [
            event.to_dict()
            for event in reversed(self._memory.history)
            if wanted in {None, event.category}
        ]
        return found[: check_count(count, "count")]

    def create_subscriber_queue(self) -> asyncio.Queue[str]:
        """Return a queue that gets each event as JSON text; a full one (100) loses its oldest."""
        queue: asyncio.Queue[str] = asyncio.Queue(MAX_SUBSCRIBER_QUEUE)
        self._memory.subscribers.append(queue)
        return queue

    def remove_subscriber_queue(self, queue: asyncio.Queue[str]) -> None:
        """Fill this queue no more; an unknown one is ignored."""
        self._memory.subscribers[:] = [one for one in self._memory.subscribers if one is not queue]

    # -- handlers in memory ---------------------------------------------------

    def register_external_handler(self, handler: ExternalHandler) -> None:
        """Add a handler for a ``NotificationQueueTask``: in memory, without retries."""
        self._memory.handlers.append(handler)

    @property
    def external_handlers(self) -> list[ExternalHandler]:
        """A copy of the handlers that a ``NotificationQueueTask`` calls."""
        return list(self._memory.handlers)

    @property
    def external_handler_queue(self) -> asyncio.Queue[NotificationEvent]:
        """Events for a ``NotificationQueueTask``; none are put in without an external handler.

        When it is full (500) the oldest is dropped. Events with the same ``dedup_key`` and
        level are put in once in 5 seconds.
        """
        return self._memory.external

    # -- routes ---------------------------------------------------------------

    def route(
        self,
        handler: Handler,
        *,
        name: str | None = None,
        categories: Iterable[str] | None = None,
        level: NotificationLevel | str = NotificationLevel.INFO,
        dedup: float | timedelta = DEDUP_SECONDS,
        quiet: QuietHours | None = None,
        rate: RateLimit | None = None,
    ) -> Route:
        """Deliver events to a handler through the queue: durably, retried, each by itself.

        Where several routes of a handler take an event, it is delivered once.

        Args:
            handler: a coroutine function that takes the event, a :class:`Webhook` or an
                :class:`AppriseHandler`.
            name: of the handler; waiting deliveries know it by this name. ``None``: its own.
            categories: ``None`` means all.
            level: this one and worse ones.
            dedup: seconds in which an event with the same ``dedup_key``, or else the same
                category and title, and the same level is not delivered again; 0 for never.
            quiet: when nothing but ``critical`` is delivered.
            rate: what exceeds it becomes one summary at the end of the period.

        What dedup and rate remember is in memory, and each process has its own: after a restart
        an event may be delivered that they would have kept back.

        Raises:
            InvalidCallError: there is no queue, or a value can't be what it has to be.
        """
        self._need_queue("Routes")
        for value, kind in ((quiet, QuietHours), (rate, RateLimit)):
            if value is not None and not isinstance(value, kind):
                raise InvalidCallError(f"Give a {kind.__name__}(…), not {shown(value)}.")
        wanted, least = categories_of(categories), check_level(level)
        seconds = check_seconds(dedup, "dedup", zero="allow")
        route = Route(
            handler=self._delivery.add(handler, name),
            categories=wanted,
            level=least,
            dedup=seconds,
            quiet=quiet,
            rate=rate,
        )
        self._router.add(route)
        return route

    def counts(self) -> dict[str, dict[str, int]]:
        """Return what became of events in this process, by handler and action.

        Actions: sent, deferred, held (in a summary), repeated and quiet (both dropped).
        """
        return {} if self._queue is None else self._router.counts()

    # -- alerts ---------------------------------------------------------------

    @names_options(AlertOptions)
    async def add_alert(self, name: str, **options: Unpack[AlertOptions]) -> AlertRule:
        """Add an alert, or change the one of this name; it is on disk when this returns.

        Args:
            name: of the alert.
            **options: see :class:`AlertOptions`.

        Raises:
            InvalidCallError: there is no queue, or a value can't be what it has to be.
            QueueDisabledError: the queue is switched off.
            StorageError: nothing has changed.
        """
        self._need_queue("Alerts")
        rule = await self._book.add(name, **options)
        await self._watch.reload()
        return rule

    async def remove_alert(self, name: str) -> bool:
        """Remove an alert; whether there was one.

        Raises:
            InvalidCallError: there is no queue.
            QueueDisabledError: the queue is switched off.
            StorageError: nothing has changed.
        """
        self._need_queue("Alerts")
        found = await self._book.remove(name)
        await self._watch.reload()
        return found

    async def alerts(self) -> list[AlertRule]:
        """Return all alerts, by name; none without a queue."""
        return [] if self._queue is None else await self._book.all()

    def _need_queue(self, what: str) -> None:
        if self._queue is None:
            raise InvalidCallError(
                f"{what} need a queue: NotificationService(queue). Without one there are "
                "register_external_handler() and a NotificationQueueTask."
            )

    # -- running ---------------------------------------------------------------

    async def start(self) -> None:
        """Run deliveries and watch for alerts in this process, which has to own the file.

        Workers are started if their category has none. Does nothing without a queue, with
        one that is switched off, and if it is started already.

        Raises:
            StorageOwnedError: another process owns the file.
        """
        if self._queue is None or not self._queue.enabled:
            return
        if CATEGORY not in self._queue.workers:
            await self._queue.start_workers(CATEGORY, self._workers)
        await self._watch.start()

    async def stop(self) -> None:
        """Watch no more; what was seen is emitted first. Workers stop with the queue."""
        if self._queue is not None:
            await self._watch.stop()

    async def look(self) -> None:
        """Look at running tasks, backlogs and schedules now.

        A started service does it by itself every few seconds.
        """
        if self._queue is not None:
            await self._watch.look()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
