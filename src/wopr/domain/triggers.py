"""Triggers: what says when a schedule fires. Pure values, in UTC outside.

A trigger knows nothing of what ran: its next moment follows from the plan alone, so nothing
drifts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Any, Protocol

from wopr.domain.crontab import Crontab, pattern_of
from wopr.domain.errors import InvalidScheduleSpecificationError
from wopr.domain.jsontext import shown, type_name
from wopr.domain.localtime import as_utc, next_fixed, next_real, zone, zone_name

TriggerJson = dict[str, Any]
"""What a trigger is stored as: plain JSON with a ``type``."""

MAX_INTERVAL = timedelta(days=36_525)
"""A hundred years: a longer interval is a mistake."""


class Trigger(Protocol):
    """When a schedule fires: a frozen value that can be compared, hashed and stored."""

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first moment strictly after an aware one, in UTC; None for never again.

        Raises:
            InvalidScheduleSpecificationError: ``moment`` is naive.
        """
        ...

    def to_json(self) -> TriggerJson:
        """Return what :func:`wopr.domain.triggerjson.trigger_from_json` reads."""
        ...

    def describe(self) -> str:
        """Say in a few words when it fires."""
        ...


@dataclass(frozen=True, slots=True)
class Interval:
    """Fires at ``anchor``, ``anchor + every``, ``anchor + 2 * every``, and so on.

    Real time: changes of the clocks don't touch it.

    Attributes:
        every: From 1 microsecond to 100 years.
        anchor: The first moment (aware). None: the schedule sets it, with :meth:`anchored`.

    Raises:
        InvalidScheduleSpecificationError: A value is not of these.
    """

    every: timedelta
    anchor: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse what would fire all the time or never."""
        if not isinstance(self.every, timedelta):
            raise InvalidScheduleSpecificationError(
                f"An interval must be a timedelta, like timedelta(minutes=5), "
                f"not {type_name(self.every)} {shown(self.every)}."
            )
        if not timedelta(0) < self.every <= MAX_INTERVAL:
            raise InvalidScheduleSpecificationError(
                f"An interval must be longer than zero and at most 100 years, "
                f"not {self.every}. Example: timedelta(minutes=5)."
            )
        if self.anchor is not None:
            object.__setattr__(self, "anchor", as_utc(self.anchor, "An interval's anchor"))

    def anchored(self, moment: datetime) -> Interval:
        """Return this interval, anchored at ``moment`` unless it is anchored already."""
        return replace(self, anchor=moment) if self.anchor is None else self

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first moment strictly after an aware one: one division, however far."""
        if self.anchor is None:
            raise InvalidScheduleSpecificationError(
                "This interval has no anchor, so nobody knows when it fires. Give it one: "
                "interval.anchored(datetime(2030, 1, 31, 9, 0, tzinfo=UTC))."
            )
        passed = as_utc(moment, "The moment") - self.anchor
        if passed < timedelta(0):
            return self.anchor
        try:
            return self.anchor + (passed // self.every + 1) * self.every
        except OverflowError:  # after the year 9999
            return None

    def to_json(self) -> TriggerJson:
        """Return what :func:`wopr.domain.triggerjson.trigger_from_json` reads."""
        anchor = None if self.anchor is None else self.anchor.isoformat()
        return {"type": "interval", "seconds": self.every.total_seconds(), "anchor": anchor}

    def describe(self) -> str:
        """Return text like ``every 1 h 30 min``."""
        minutes, seconds = divmod(self.every, timedelta(minutes=1))
        counts = {"d": minutes // 1440, "h": minutes // 60 % 24, "min": minutes % 60}
        parts = [f"{count} {unit}" for unit, count in counts.items() if count]
        if seconds:
            parts.append(f"{seconds.total_seconds():.6f}".rstrip("0").rstrip(".") + " s")
        return f"every {' '.join(parts)}"


@dataclass(frozen=True, slots=True)
class At:
    """Fires every day when the clock on the wall shows ``time``. A fixed time.

    Attributes:
        time: Time of day, to the microsecond. One with a ``ZoneInfo`` gives ``tz`` itself.
        tz: Name of the time zone.

    Raises:
        InvalidScheduleSpecificationError: No such time or zone, or two zones.
    """

    time: time
    tz: str = "UTC"

    def __post_init__(self) -> None:
        """Take the zone out of an aware time, so that it is in one place."""
        if not isinstance(self.time, time):
            raise InvalidScheduleSpecificationError(
                f"A daily time must be a datetime.time, like time(14, 30), "
                f"not {type_name(self.time)} {shown(self.time)}."
            )
        zone(self.tz)
        if self.time.tzinfo is not None:
            name = zone_name(self.time.tzinfo)
            if self.tz not in ("UTC", name):
                raise InvalidScheduleSpecificationError(
                    f"The daily time is of the zone {name!r} and tz is {self.tz!r}: give one."
                )
            object.__setattr__(self, "tz", name)
        object.__setattr__(self, "time", self.time.replace(tzinfo=None))

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first moment strictly after an aware one, in UTC; None for never again."""
        try:
            return next_fixed(as_utc(moment, "The moment"), zone(self.tz), self._next_wall)
        except OverflowError:  # after the year 9999
            return None

    def _next_wall(self, wall: datetime) -> datetime:
        today = datetime.combine(wall, self.time)
        return today if today > wall else today + timedelta(days=1)

    def to_json(self) -> TriggerJson:
        """Return what :func:`wopr.domain.triggerjson.trigger_from_json` reads."""
        return {"type": "at", "time": self.time.isoformat(), "tz": self.tz}

    def describe(self) -> str:
        """Return text like ``daily at 14:30 Europe/Berlin``."""
        return f"daily at {self.time.isoformat().removesuffix(':00')} {self.tz}"


@dataclass(frozen=True, slots=True)
class Cron:
    """Fires when the clock on the wall matches a cron expression.

    A pattern whose minute or hour field starts with ``*`` follows real time; all others are
    fixed times. That is so for 5 and for 6 fields.

    Attributes:
        expression: ``minute hour day-of-month month day-of-week``, or 6 fields with the second
            first, or a name like ``@daily``. As in cron, a day matches if day of month *or* day
            of week does when neither starts with ``*``.
        tz: Name of the time zone.
        day_and_weekday: A day must match both instead.

    Raises:
        InvalidScheduleSpecificationError: A field is wrong, the pattern never comes, or there
            is no such zone.
    """

    expression: str
    tz: str = "UTC"
    day_and_weekday: bool = False

    def __post_init__(self) -> None:
        """Read the expression now, so that a bad one is refused here."""
        if not isinstance(self.expression, str):
            raise InvalidScheduleSpecificationError(
                f"A cron expression must be text, like '30 9 * * MON-FRI', "
                f"not {type_name(self.expression)} {shown(self.expression)}."
            )
        object.__setattr__(self, "expression", " ".join(self.expression.split()))
        pattern_of(self.expression, day_and_weekday=self.day_and_weekday)
        zone(self.tz)

    @classmethod
    def of(cls, crontab: Crontab, tz: str = "UTC") -> Cron:
        """Return the trigger of a ``Crontab``."""
        return cls(crontab.expression, tz, crontab.day_and_weekday)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first moment strictly after an aware one, in UTC; None for never again."""
        pattern = pattern_of(self.expression, day_and_weekday=self.day_and_weekday)
        following = next_real if pattern.follows_real_time else next_fixed
        try:
            return following(as_utc(moment, "The moment"), zone(self.tz), pattern.next_wall)
        except OverflowError:  # after the year 9999
            return None

    def to_json(self) -> TriggerJson:
        """Return what :func:`wopr.domain.triggerjson.trigger_from_json` reads."""
        return {
            "type": "cron",
            "expression": self.expression,
            "tz": self.tz,
            "day_and_weekday": self.day_and_weekday,
        }

    def describe(self) -> str:
        """Return text like ``cron '30 9 * * MON-FRI' Europe/Berlin``."""
        both = ", on days that match both day and weekday" if self.day_and_weekday else ""
        return f"cron '{self.expression}' {self.tz}{both}"


@dataclass(frozen=True, slots=True)
class Once:
    """Fires once.

    Attributes:
        moment: Aware.

    Raises:
        InvalidScheduleSpecificationError: It is naive.
    """

    moment: datetime

    def __post_init__(self) -> None:
        """Keep the moment in UTC."""
        object.__setattr__(self, "moment", as_utc(self.moment, "The moment"))

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the moment if it is still to come."""
        return self.moment if self.moment > as_utc(moment, "The moment") else None

    def to_json(self) -> TriggerJson:
        """Return what :func:`wopr.domain.triggerjson.trigger_from_json` reads."""
        return {"type": "once", "moment": self.moment.isoformat()}

    def describe(self) -> str:
        """Return text like ``once at 2030-01-31 09:00:00 UTC``."""
        return f"once at {self.moment.replace(tzinfo=None).isoformat(' ')} UTC"
