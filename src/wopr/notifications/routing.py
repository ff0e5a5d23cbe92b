"""Which events a handler is given, and when: the decision, without any effect."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from enum import Enum
from typing import Any

from wopr.domain.checks import check_count, check_seconds
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.level import NotificationLevel
from wopr.domain.localtime import from_wall, zone
from wopr.notifications.event import (
    CATEGORY,
    DEDUP_KEY,
    FORCE_EXTERNAL,
    NotificationEvent,
    check_category,
)

DEDUP_SECONDS = 5.0
NAMED = 5
"""How many different titles a summary names."""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """When a route is quiet, each day. ``critical`` events pass through all the same.

    Args:
        start: ``"22:00"`` or a time.
        end: the first moment that is not quiet any more; before ``start`` means the next day.
        tz: the time zone of both.
        drop: whether what comes meanwhile is dropped; else it is delivered at the end.

    When the clocks change: a wall time that is skipped counts as the moment after the gap,
    one that comes twice counts when it comes first.

    Raises:
        InvalidCallError: a value can't be what it has to be.
    """

    start: str | time
    end: str | time
    tz: str = "UTC"
    drop: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what is no pair of different times in a zone."""
        zone(self.tz)
        if _time(self.start, "start") == _time(self.end, "end"):
            raise InvalidCallError(
                f"Quiet hours from {self.start} to {self.end} have no length. Leave them out, or "
                "give two different times."
            )

    def until(self, now: datetime) -> datetime | None:
        """Return when the quiet that reigns at ``now`` ends (UTC); ``None`` if none does."""
        where, start, end = zone(self.tz), _time(self.start, "start"), _time(self.end, "end")
        today = now.astimezone(where).date()
        for day in (today - timedelta(days=1), today):
            last = day if start < end else day + timedelta(days=1)
            until = from_wall(datetime.combine(last, end), where)
            if from_wall(datetime.combine(day, start), where) <= now < until:
                return until
        return None


def _time(value: object, what: str) -> time:
    if isinstance(value, time) and value.tzinfo is None:
        return value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            found = time.fromisoformat(value)
            if found.tzinfo is None:
                return found
    raise InvalidCallError(
        f"{what} of quiet hours must be a time like '22:00', without a time zone, not "
        f"{shown(value)}. The zone is tz='Europe/Berlin'."
    )


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``count`` deliveries in ``seconds``; the rest becomes one summary at the end.

    Raises:
        InvalidCallError: a value can't be what it has to be.
    """

    count: int
    seconds: float | timedelta

    def __post_init__(self) -> None:
        """Refuse what is no number of deliveries, or no time."""
        check_count(self.count, "count", least=1)
        check_seconds(self.seconds, "seconds", zero="refuse")

    @property
    def period(self) -> timedelta:
        """The time."""
        return timedelta(seconds=check_seconds(self.seconds, "seconds", zero="refuse"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which events one handler is given."""

    handler: str
    """Its name."""
    categories: frozenset[str] | None = None
    """``None``: all."""
    level: NotificationLevel = NotificationLevel.INFO
    """And those that are worse."""
    dedup: float = DEDUP_SECONDS
    """So many seconds an event keeps its repeats away; 0 lets all through."""
    quiet: QuietHours | None = None
    rate: RateLimit | None = None

    def takes(self, event: NotificationEvent) -> bool:
        """Whether the event is for this route at all."""
        if event.metadata.get(FORCE_EXTERNAL):
            return True
        if self.categories is not None and event.category not in self.categories:
            return False
        return event.level.rank >= self.level.rank


class Action(str, Enum):
    """What becomes of an event on a route that takes it."""

    SENT = "sent"
    DEFERRED = "deferred"
    """Until the quiet hours end."""
    HELD = "held"
    """Beyond the rate limit: part of a summary."""
    REPEATED = "repeated"
    """Not delivered: the same was, shortly before."""
    QUIET = "quiet"
    """Not delivered: quiet hours that drop."""

    __str__ = str.__str__


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one event on one route."""

    action: Action
    at: datetime
    """When it is, or would have been, delivered."""


@dataclass(slots=True)
class Window:
    """One period of a rate limit, from the first delivery in it."""

    begin: datetime
    end: datetime
    sent: int = 0
    held: int = 0
    levels: Counter[str] = field(default_factory=Counter)
    categories: set[str] = field(default_factory=set)
    titles: Counter[str] = field(default_factory=Counter)
    """Of what was held; only the first :data:`NAMED` different ones."""
    told: int = 0
    """How many of them the summary that waits tells of."""
    summary: str | None = None
    """Id of the task that will deliver that summary."""

    def hold(self, event: NotificationEvent) -> None:
        """Count an event that is not delivered by itself."""
        self.held += 1
        self.levels[event.level.value] += 1
        self.categories.add(event.category)
        if event.title in self.titles or len(self.titles) < NAMED:
            self.titles[event.title] += 1


class RouteState:
    """What a route remembers of the events it had, in memory only."""

    def __init__(self) -> None:
        self.counts: Counter[Action] = Counter()
        self.windows: list[Window] = []
        self.seen: dict[tuple[str, ...], datetime] = {}

    def window(self, at: datetime) -> Window | None:
        """Return the period of the rate limit that a delivery at ``at`` falls into."""
        return next((one for one in self.windows if one.begin <= at < one.end), None)

    def note(
        self, event: NotificationEvent, route: Route, decision: Decision, now: datetime
    ) -> Window | None:
        """Remember a decision; return the period of the rate limit that it counts in."""
        self.counts[decision.action] += 1
        if decision.action in {Action.REPEATED, Action.QUIET}:
            return None
        self._remember(repeat_key(event), now, timedelta(seconds=route.dedup))
        if route.rate is None:
            return None
        self.windows = [one for one in self.windows if one.end > now]
        window = self.window(decision.at)
        if window is None:
            window = Window(decision.at, decision.at + route.rate.period)
            self.windows.append(window)
        if decision.action is Action.HELD:
            window.hold(event)
        else:
            window.sent += 1
        return window

    def forget(self, event: NotificationEvent, decision: Decision) -> None:
        """Let the same event through again: it could not be enqueued."""
        self.counts[decision.action] -= 1
        if decision.action not in {Action.REPEATED, Action.QUIET}:
            self.seen.pop(repeat_key(event), None)

    def _remember(self, key: tuple[str, ...], now: datetime, reach: timedelta) -> None:
        while self.seen:  # in the order of time, the oldest first
            oldest = next(iter(self.seen))
            if _within(self.seen[oldest], now, reach):
                break
            del self.seen[oldest]
        if reach:
            self.seen.pop(key, None)
            self.seen[key] = now


def repeat_key(event: NotificationEvent) -> tuple[str, ...]:
    """Return what events share that are repeats of each other."""
    key = event.metadata.get(DEDUP_KEY)
    if key:
        return str(key), event.level.value
    return event.category, event.title, event.level.value


def _within(earlier: datetime, now: datetime, reach: timedelta) -> bool:
    return timedelta(0) <= now - earlier < reach  # a clock that goes back silences nothing


def decide(
    event: NotificationEvent, route: Route, state: RouteState, now: datetime
) -> Decision | None:
    """Return what becomes of an event on a route; ``None`` if the route does not take it."""
    if not route.takes(event):
        return None
    earlier = state.seen.get(repeat_key(event))
    if earlier is not None and _within(earlier, now, timedelta(seconds=route.dedup)):
        return Decision(Action.REPEATED, now)
    until: datetime | None = None
    if route.quiet is not None and event.level is not NotificationLevel.CRITICAL:
        until = route.quiet.until(now)
        if until is not None and route.quiet.drop:
            return Decision(Action.QUIET, now)
    at = until or now
    if route.rate is not None:
        window = state.window(at)
        if window is not None and window.sent >= route.rate.count:
            return Decision(Action.HELD, at)
    return Decision(Action.SENT if until is None else Action.DEFERRED, at)


def summary(window: Window, event_id: str, now: datetime) -> NotificationEvent:
    """Return the event that stands for all that a window held back."""
    worst = max((NotificationLevel(level) for level in window.levels), key=lambda one: one.rank)
    named = sum(window.titles.values())
    lines = [f"{count} × {title}" for title, count in window.titles.items()]
    if named < window.held:
        lines.append(f"{window.held - named} × others")
    metadata: dict[str, Any] = {
        "held": window.held,
        "levels": dict(window.levels),
        "begin": window.begin.isoformat(),
        "end": window.end.isoformat(),
    }
    return NotificationEvent(
        id=event_id,
        category=next(iter(window.categories)) if len(window.categories) == 1 else CATEGORY,
        level=worst,
        title=f"Held back by the rate limit: {window.held} more",
        message="\n".join(lines),
        metadata=metadata,
        created_at=now,
    )


def summary_time(window: Window, route: Route) -> datetime:
    """Return when a summary is delivered: at the end of its period, if that is not quiet."""
    if route.quiet is None or window.levels[NotificationLevel.CRITICAL.value]:
        return window.end
    return route.quiet.until(window.end) or window.end


def categories_of(value: object) -> frozenset[str] | None:
    """Return the categories of a route.

    Raises:
        InvalidCallError: it is no collection of texts.
    """
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidCallError(
            f"categories must be a list of categories, not {shown(value)}. For one write [name]."
        )
    return frozenset(check_category(one) for one in value)
