"""Cron: the structured ``Crontab``, the text form, and what either of them matches.

Weekdays are numbered twice: ``Weekday`` counts from Monday = 0, cron's text counts from
Sunday = 0. :meth:`Crontab.expression` is the one place that goes from one to the other.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from functools import lru_cache

from cronsim import CronSim, CronSimError

from wopr.domain.crontext import ALIASES, plain
from wopr.domain.errors import InvalidScheduleSpecificationError
from wopr.domain.jsontext import shown, type_name


class Weekday(IntEnum):
    """A day of the week, as :meth:`datetime.date.weekday` numbers them."""

    MONDAY = 0
    TUESDAY = 1
    WEDNESDAY = 2
    THURSDAY = 3
    FRIDAY = 4
    SATURDAY = 5
    SUNDAY = 6


class Month(IntEnum):
    """A month of the year."""

    JANUARY = 1
    FEBRUARY = 2
    MARCH = 3
    APRIL = 4
    MAY = 5
    JUNE = 6
    JULY = 7
    AUGUST = 8
    SEPTEMBER = 9
    OCTOBER = 10
    NOVEMBER = 11
    DECEMBER = 12


@dataclass(frozen=True)
class Crontab:
    """When the clock on the wall matches all of these.

    Each field takes one value, a tuple of values, or None for every. Unlike in cron's text,
    a day must match ``day`` *and* ``weekday`` when both are given: ``Crontab(day=13,
    weekday=Weekday.FRIDAY)`` is Friday the 13th.

    Attributes:
        month: ``Month`` or 1 to 12.
        day: Day of the month, 1 to 31.
        weekday: ``Weekday`` or 0 (Monday) to 6 (Sunday).
        hour: 0 to 23.
        minute: 0 to 59.

    Raises:
        InvalidScheduleSpecificationError: A value is out of its range, or no day of any year
            matches.
    """

    month: int | tuple[int, ...] | None = None
    day: int | tuple[int, ...] | None = None
    weekday: int | tuple[int, ...] | None = None
    hour: int | tuple[int, ...] | None = 0
    minute: int | tuple[int, ...] | None = 0

    def __post_init__(self) -> None:
        """Refuse what can't be meant, before any schedule depends on it."""
        _check("month", self.month, 1, 12, Month)
        _check("day", self.day, 1, 31, int)
        _check("weekday", self.weekday, 0, 6, Weekday)
        _check("hour", self.hour, 0, 23, int)
        _check("minute", self.minute, 0, 59, int)
        pattern_of(self.expression, day_and_weekday=self.day_and_weekday)

    @property
    def expression(self) -> str:
        """The fields as cron's text: minute, hour, day of month, month, day of week.

        The text alone can't say that day *and* weekday must match: cron fires when either
        does. ``Cron.of(crontab)`` keeps the difference.
        """
        weekday = self.weekday
        if weekday is not None:
            days = weekday if isinstance(weekday, tuple) else (weekday,)
            weekday = tuple((day + 1) % 7 for day in days)
        fields = (self.minute, self.hour, self.day, self.month, weekday)
        return " ".join(_text(value) for value in fields)

    @property
    def day_and_weekday(self) -> bool:
        """Whether both are given."""
        return self.day is not None and self.weekday is not None


def _check(field: str, value: object, low: int, high: int, kind: type[int]) -> None:
    if value is None:
        return
    allowed = f"{field} must be {low} to {high}, a tuple of such numbers, or None for every"
    if kind is not int:
        allowed = f"{field} must be of {kind.__name__} ({low} to {high}), a tuple, or None for all"
    if value == ():
        raise InvalidScheduleSpecificationError(f"Crontab({field}=()) matches nothing: {allowed}.")
    for number in value if isinstance(value, tuple) else (value,):
        if type(number) not in (int, kind):
            raise InvalidScheduleSpecificationError(
                f"Crontab({field}=…) can't be {type_name(number)} {shown(number)}: {allowed}."
            )
        if not low <= number <= high:
            raise InvalidScheduleSpecificationError(
                f"Crontab({field}={number}) is out of range: {allowed}."
            )


def _text(value: int | tuple[int, ...] | None) -> str:
    if value is None:
        return "*"
    numbers = value if isinstance(value, tuple) else (value,)
    return ",".join(str(int(number)) for number in sorted(set(numbers)))


@dataclass(frozen=True, slots=True)
class Pattern:
    """A cron expression that was read.

    Attributes:
        follows_real_time: Its minute or hour field starts with ``*``.
    """

    _sim: CronSim
    follows_real_time: bool

    def next_wall(self, wall: datetime) -> datetime | None:
        """Return the first match (naive, whole seconds) strictly after ``wall``."""
        sim = copy.copy(self._sim)  # reading the text again costs more
        sim.dt = wall.replace(microsecond=0)
        return next(sim, None)

    def numbers(self) -> Numbers | None:
        """Return which numbers match; ``None`` for a day that is no number, as L and # say it."""
        sim = self._sim
        days, weekdays = set(sim.days), {one for one in sim.weekdays if isinstance(one, int)}
        if len(weekdays) < len(sim.weekdays) or any(one < 0 for one in days):
            return None
        weekdays = {one % 7 for one in weekdays}
        either_day = not sim.day_and
        if either_day and (len(days) == 31 or len(weekdays) == 7):  # so every day matches
            days, weekdays, either_day = set(range(1, 32)), set(range(7)), False
        return Numbers(
            frozenset(sim.seconds),
            frozenset(sim.minutes),
            frozenset(sim.hours),
            frozenset(days),
            frozenset(sim.months),
            frozenset(weekdays),
            either_day,
        )


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers that a pattern matches, by its fields.

    Attributes:
        weekdays: 0 is Sunday, as in cron's text.
        either_day: Whether a day matches if one of day of month and weekday does.
    """

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool


LONGEST_EXPRESSION = 1_000
"""Characters: more than all values of all fields written out."""
_EXAMPLE = "Example: '30 9 * * MON-FRI' is 09:30 from Monday to Friday"
_FIELDS = {
    "second": "0 to 59, like '0' or '*/10'",
    "minute": "0 to 59, like '30', '0,30' or '*/15'",
    "hour": "0 to 23, like '9', '8-18' or '*/2'",
    "day-of-month": "1 to 31 (a day that the month has), L for the last, LW for the last weekday",
    "month": "1 to 12 or JAN to DEC, like '1,4,7,10' or 'NOV-MAR'",
    "day-of-week": "0 or SUN to 6 or SAT, like 'SAT-SUN', 'MON#2' for the second, 'L5' the last",
}
_ANY_YEAR = datetime(2024, 1, 1)  # noqa: DTZ001 - a wall time: what is sought has no zone


@lru_cache(1_024)
def pattern_of(expression: str, *, day_and_weekday: bool = False) -> Pattern:
    """Read a cron expression of 5 fields, or 6 with the second first, or a name like ``@daily``.

    Args:
        expression: As cron has it: when neither the day of month nor the day of week starts
            with ``*``, a day matches if either does.
        day_and_weekday: A day must match both.

    Raises:
        InvalidScheduleSpecificationError: A field is wrong, or the pattern never comes.
    """
    if len(expression) > LONGEST_EXPRESSION:
        raise InvalidScheduleSpecificationError(
            f"The cron expression {shown(expression)}… can't be read: it has {len(expression):,} "
            f"characters and may have {LONGEST_EXPRESSION:,}. {_EXAMPLE}."
        )
    fields = ALIASES.get(expression.strip().lower(), expression).split()
    if expression.lstrip().startswith("@") and len(fields) < 5:
        raise InvalidScheduleSpecificationError(_unknown_alias(expression))
    if len(fields) not in (5, 6):
        raise InvalidScheduleSpecificationError(
            f"The cron expression {shown(expression)} has {len(fields)} fields: it needs 5 "
            f"(minute hour day-of-month month day-of-week), or 6 with the second first. "
            f"{_EXAMPLE}."
        )
    try:
        sim = CronSim(plain(fields), _ANY_YEAR)
    except (CronSimError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise _bad_field(expression, fields, error) from error
    if day_and_weekday:
        sim.day_and = True
    pattern = Pattern(sim, any(field.startswith("*") for field in fields[-5:-3]))
    if pattern.next_wall(_ANY_YEAR) is None:
        raise InvalidScheduleSpecificationError(
            f"The cron expression {shown(expression)} never comes: no day of the next 50 years "
            f"matches its day, month and weekday. {_EXAMPLE}."
        )
    return pattern


def _unknown_alias(expression: str) -> str:
    text = f"{shown(expression)} is no name of a cron expression; there are {', '.join(ALIASES)}."
    if expression.strip().lower() == "@reboot":
        return f"{text} What is to run at each start has run_on_start=True."
    return f"{text} An interval is every=, a time of day at=."


def _bad_field(
    expression: str, fields: list[str], error: Exception
) -> InvalidScheduleSpecificationError:
    names = list(_FIELDS)[-len(fields) :]
    name = str(error).removeprefix("Bad ")
    if name not in names:
        return InvalidScheduleSpecificationError(
            f"The cron expression {shown(expression)} can't be read. {_EXAMPLE}."
        )
    return InvalidScheduleSpecificationError(
        f"The {name} field {shown(fields[names.index(name)])} of the cron expression "
        f"{shown(expression)} is wrong: it takes {_FIELDS[name]}. {_EXAMPLE}."
    )
