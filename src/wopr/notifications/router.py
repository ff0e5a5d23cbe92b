"""Routes of one process: decide about an event, and enqueue its deliveries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from wopr.notifications.delivery import Delivery
from wopr.notifications.event import NotificationEvent
from wopr.notifications.routing import (
    Action,
    Decision,
    Route,
    RouteState,
    Window,
    decide,
    summary,
    summary_time,
)


@dataclass(slots=True)
class _Plan:
    """What becomes of one event."""

    sent: dict[datetime | None, list[str]] = field(default_factory=dict)
    """Names of handlers by when they get it; ``None``: at once."""
    held: list[tuple[Route, Window]] = field(default_factory=list)
    """Where it is part of a later summary."""
    noted: list[tuple[RouteState, Decision]] = field(default_factory=list)
    """What the routes remember, to be forgotten should it not be written."""


class Router:
    """The routes, and what they remember. Used on the event loop only."""

    def __init__(self, delivery: Delivery, new_id: Callable[[], str]) -> None:
        self._delivery = delivery
        self._new_id = new_id
        self._routes: list[tuple[Route, RouteState]] = []

    def add(self, route: Route) -> None:
        """Add a route; earlier ones come first."""
        self._routes.append((route, RouteState()))

    def counts(self) -> dict[str, dict[str, int]]:
        """Return what became of events, by handler and action."""
        counts: dict[str, dict[str, int]] = {}
        for route, state in self._routes:
            mine = counts.setdefault(route.handler, {action.value: 0 for action in Action})
            for action, count in state.counts.items():
                mine[action.value] += count
        return counts

    async def deliver(self, event: NotificationEvent) -> None:
        """Enqueue the deliveries of an event.

        Raises:
            PayloadTooLargeError: the event is over the limit for arguments.
            StorageError: it is not known which deliveries were enqueued.
        """
        plan = self._plan(event)
        try:
            for moment, names in plan.sent.items():
                await self._delivery.enqueue(event, names, moment)
            for route, window in plan.held:
                await self._summarise(route, window, event.created_at)
        except BaseException:
            for state, decision in plan.noted:
                state.forget(event, decision)
            raise

    def _plan(self, event: NotificationEvent) -> _Plan:
        """Let each route decide about an event, until one of its handler takes it."""
        plan, now = _Plan(), event.created_at
        served: set[str] = set()
        for route, state in self._routes:
            decision = None if route.handler in served else decide(event, route, state, now)
            if decision is None:
                continue
            window = state.note(event, route, decision, now)
            plan.noted.append((state, decision))
            if decision.action is Action.HELD and window is not None:
                plan.held.append((route, window))
            elif decision.action in {Action.SENT, Action.DEFERRED}:
                at = decision.at if decision.action is Action.DEFERRED else None
                plan.sent.setdefault(at, []).append(route.handler)
            else:
                continue  # another route of this handler may take it
            served.add(route.handler)
        return plan

    async def _summarise(self, route: Route, window: Window, now: datetime) -> None:
        """Put a new summary in the place of the one that waits.

        The new one is on disk before the old one is cancelled: a crash in between costs a
        delivery that says too little, never one that is missing.
        """
        held, event = window.held, summary(window, self._new_id(), now)
        at = summary_time(window, route)
        useless: str | None = await self._delivery.enqueue_later(event, route.handler, at)
        if held > window.told:  # else a later one was faster
            window.told, window.summary, useless = held, useless, window.summary
        if useless is not None:
            await self._delivery.cancel(useless)
