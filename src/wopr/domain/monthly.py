"""Every so many months on a day of the month, which may be the last one."""

from __future__ import annotations

import calendar
from dataclasses import dataclass, replace
from datetime import date, datetime, time

from wopr.domain.errors import InvalidScheduleSpecificationError
from wopr.domain.jsontext import shown, type_name
from wopr.domain.localtime import as_utc, next_fixed, time_of_day, zone
from wopr.domain.triggers import TriggerJson

LAST = "last"
MOST_MONTHS = 1_200
"""A hundred years: a longer span is a mistake."""


@dataclass(frozen=True, slots=True)
class Monthly:
    """Fires every so many months on a day, when the clock on the wall shows a time. A fixed time.

    Attributes:
        every: Months, from 1 to 1,200.
        day: 1 to 31, or ``"last"``. Months that don't have the day are left out.
        at: Time of day, as ``time(9, 0)`` or ``"09:00"``.
        tz: Name of the time zone.
        first: A date in the first month that counts. None: the month in which the schedule
            was added, or that of its ``start_at``.

    Raises:
        InvalidScheduleSpecificationError: A value is not of these.
    """

    every: int = 1
    day: int | str = LAST
    at: time | str = time.min
    tz: str = "UTC"
    first: date | None = None

    def __post_init__(self) -> None:
        """Refuse what can't be meant, before any schedule depends on it."""
        if type(self.every) is not int or not 1 <= self.every <= MOST_MONTHS:
            raise _wrong("every", self.every, f"a number of months from 1 to {MOST_MONTHS:,}")
        if self.day != LAST and (type(self.day) is not int or not 1 <= self.day <= 31):
            raise _wrong("day", self.day, f"1 to 31, or {LAST!r}")
        at = time_of_day(self.at) if isinstance(self.at, str) else self.at
        if not isinstance(at, time) or at.tzinfo is not None:
            raise _wrong("at", self.at, "a time without a zone, like '09:00' or time(9, 0)")
        object.__setattr__(self, "at", at)
        zone(self.tz)
        if self.first is not None and type(self.first) is not date:
            raise _wrong("first", self.first, "a date, like date(2030, 1, 1)")

    def anchored(self, moment: datetime) -> Monthly:
        """Return this trigger, counted from the month of a moment unless it has a first one."""
        if self.first is not None:
            return self
        return replace(self, first=moment.astimezone(zone(self.tz)).date())

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first moment strictly after an aware one, in UTC; None for never again."""
        if self.first is None and self.every > 1:
            raise InvalidScheduleSpecificationError(
                "It is not said from which month on these months are counted, so nobody knows when "
                "they come. Give it: first=date(2030, 1, 1)."
            )
        try:
            return next_fixed(as_utc(moment, "The moment"), zone(self.tz), self._next_wall)
        except OverflowError:  # after the year 9999
            return None

    def _next_wall(self, wall: datetime) -> datetime | None:
        begin = _number(wall.date() if self.first is None else self.first)
        number = max(begin, _number(wall.date()))
        number += (begin - number) % self.every
        for _ in range(MOST_MONTHS):
            year, month = divmod(number, 12)
            if year > 9999:
                return None
            found = self._in(year, month + 1)
            if found is not None and found > wall:
                return found
            number += self.every
        return None

    def _in(self, year: int, month: int) -> datetime | None:
        """Return when it fires in a month; None if that has no such day."""
        last = calendar.monthrange(year, month)[1]
        day = last if isinstance(self.day, str) else self.day
        assert isinstance(self.at, time), "a text was read"
        return None if day > last else datetime.combine(date(year, month, day), self.at)

    def to_json(self) -> TriggerJson:
        """Return what :func:`wopr.domain.triggerjson.trigger_from_json` reads."""
        assert isinstance(self.at, time), "a text was read"
        first = None if self.first is None else self.first.isoformat()
        values = {"every": self.every, "day": self.day, "tz": self.tz, "first": first}
        return {"type": "monthly", "at": self.at.isoformat(), **values}

    def describe(self) -> str:
        """Return text like ``every 3 months on the last day at 09:00 Europe/Berlin``."""
        assert isinstance(self.at, time), "a text was read"
        months = "month" if self.every == 1 else f"{self.every} months"
        day = "the last day" if self.day == LAST else f"day {self.day}"
        return f"every {months} on {day} at {self.at.isoformat().removesuffix(':00')} {self.tz}"


def _number(day: date) -> int:
    """Return the number of a month: they are counted from the year 0."""
    return day.year * 12 + day.month - 1


def _wrong(field: str, value: object, wanted: str) -> InvalidScheduleSpecificationError:
    return InvalidScheduleSpecificationError(
        f"Monthly({field}=…) must be {wanted}, not {type_name(value)} {shown(value)}. Example: "
        "Monthly(3, day='last', at='09:00')."
    )
