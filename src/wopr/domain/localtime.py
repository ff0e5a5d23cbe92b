"""Wall times and real moments: what becomes of a schedule when the clocks change.

There are two ways to read a plan; each trigger has one of them:

- *Fixed times* are what the clock on the wall shows. One that the clock skips (a gap) fires
  at the first moment after the gap. One that comes twice (an overlap) fires once, at the
  first pass.
- *Real time* fires whenever the wall shows a matching time: never in a gap, in both passes
  of an overlap. So "every 15 minutes" stays every 15 real minutes.

A wall time has two readings in Python (``fold``). They differ in an overlap, where the first
is the earlier one, and in a gap, where it is the later one.
"""

from __future__ import annotations

import difflib
import re
import struct
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import cache
from io import BytesIO
from zoneinfo import ZoneInfo, available_timezones

from wopr.domain.errors import InvalidScheduleSpecificationError
from wopr.domain.jsontext import shown, type_name

NextWall = Callable[[datetime], datetime | None]
"""The first wall time (naive) strictly after another one that a pattern matches, if any."""

_TICK = timedelta(microseconds=1)
_TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d{1,2})(?::(\d{1,2}))?", re.ASCII)


def zone(name: str) -> ZoneInfo:
    """Return the time zone of this name.

    Raises:
        InvalidScheduleSpecificationError: There is none.
    """
    if not isinstance(name, str):
        raise InvalidScheduleSpecificationError(
            f"tz must be the name of a time zone, like 'Europe/Berlin' or 'UTC', "
            f"not {type_name(name)} {shown(name)}."
        )
    return _zone(name)


_UTC = b"TZif" + bytes(32) + struct.pack(">LL", 1, 4) + bytes(6) + b"UTC\0"
"""What a machine with time zones says of UTC, in the form of RFC 8536."""


@cache  # ZoneInfo itself keeps only the last eight
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:  # OSError: the name of a folder
        if name == "UTC":
            return ZoneInfo.from_file(BytesIO(_UTC), name)
        if not available_timezones():
            raise InvalidScheduleSpecificationError(
                f"This machine has no time zones, so {shown(name)} is not known; only UTC is. "
                "Install its package of them (tzdata), or pip install 'wopr[tz]'."
            ) from error
        known = {other.lower(): other for other in available_timezones()}
        near = difflib.get_close_matches(name[:100].lower(), known, n=3)
        hint = f"Did you mean {' or '.join(repr(known[key]) for key in near)}? " if near else ""
        raise InvalidScheduleSpecificationError(
            f"There is no time zone {shown(name)}. {hint}Zones are named like 'Europe/Berlin', "
            f"'America/New_York' or 'UTC'; all of them: zoneinfo.available_timezones()."
        ) from error


def zone_name(info: tzinfo) -> str:
    """Return the name of the time zone that a time or datetime carries.

    Raises:
        InvalidScheduleSpecificationError: It has none.
    """
    if info is UTC:
        return "UTC"
    if isinstance(info, ZoneInfo) and info.key:
        return info.key
    raise InvalidScheduleSpecificationError(
        f"The time zone {shown(info)} has no name by which it could be stored. Use "
        f"zoneinfo.ZoneInfo('Europe/Berlin'), or no tzinfo and tz='Europe/Berlin'."
    )


def time_of_day(text: str) -> time:
    """Return the time that a text like ``14:30`` or ``14:30:15`` says.

    Raises:
        InvalidScheduleSpecificationError: It says none.
    """
    found = _TIME_OF_DAY.fullmatch(text)
    try:
        if found is not None:
            hour, minute, second = (int(part) for part in found.groups(default="0"))
            return time.min.replace(hour=hour, minute=minute, second=second)
    except ValueError:  # 25:00
        pass
    raise InvalidScheduleSpecificationError(
        f"at field must be in HH:MM format (or HH:MM:SS), like '14:30', not {shown(text)}."
    )


def as_utc(moment: datetime, what: str) -> datetime:
    """Return an aware moment in UTC; ``what`` names it in the error.

    Raises:
        InvalidScheduleSpecificationError: It is naive, or no datetime.
    """
    if not isinstance(moment, datetime):
        raise InvalidScheduleSpecificationError(
            f"{what} must be a datetime, not {type_name(moment)} {shown(moment)}."
        )
    if moment.tzinfo is UTC:
        return moment
    if moment.utcoffset() is None:
        raise InvalidScheduleSpecificationError(
            f"{what} must be aware, not the naive {moment.isoformat()}: nobody can tell which "
            f"moment that is. Write datetime(2030, 1, 31, 9, 0, tzinfo=UTC)."
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise InvalidScheduleSpecificationError(
            f"{what} {moment.isoformat()} is outside of the years 1 to 9999 in UTC."
        ) from error


def from_wall(wall: datetime, where: ZoneInfo) -> datetime:
    """Return the moment (UTC) of a fixed time: after a gap, in the first pass of an overlap."""
    first, second = _readings(wall, where)
    return _change(first, second, where) if first > second else first


def next_fixed(moment: datetime, where: ZoneInfo, next_wall: NextWall) -> datetime | None:
    """Return the first moment (UTC) strictly after ``moment`` of a pattern of fixed times."""
    local = moment.astimezone(where)
    wall = local.replace(tzinfo=None)
    if local.fold:  # the wall times of an overlap fired in its first pass
        last = _change(*_readings(wall, where), where) - _TICK
        wall = last.astimezone(where).replace(tzinfo=None)
    found = next_wall(wall)
    return None if found is None else from_wall(found, where)


def next_real(moment: datetime, where: ZoneInfo, next_wall: NextWall) -> datetime | None:
    """Return the first moment (UTC) strictly after ``moment`` of a pattern of real time."""
    local = moment.astimezone(where)
    wall = local.replace(tzinfo=None)
    found = _next_shown(moment, wall, where, next_wall)
    first, second = _readings(wall, where)
    if first == moment < second:  # the wall will show this time again, and earlier ones too
        change = _change(first, second, where)
        if found is None or found >= change:
            wall = change.astimezone(where).replace(tzinfo=None)
            found = _next_shown(change - _TICK, wall - _TICK, where, next_wall)
    return found


def _next_shown(
    moment: datetime, wall: datetime, where: ZoneInfo, next_wall: NextWall
) -> datetime | None:
    """Return when the wall, after ``moment``, first shows a match that is after ``wall``."""
    while (found := next_wall(wall)) is not None:
        first, second = _readings(found, where)
        if first <= second:
            return first if first > moment else second
        change = _change(first, second, where)  # in a gap: go on at its end
        wall = change.astimezone(where).replace(tzinfo=None) - _TICK
    return None


def _readings(wall: datetime, where: ZoneInfo) -> tuple[datetime, datetime]:
    first = wall.replace(tzinfo=where, fold=0).astimezone(UTC)
    return first, wall.replace(tzinfo=where, fold=1).astimezone(UTC)


def _change(one: datetime, other: datetime, where: ZoneInfo) -> datetime:
    """Return the moment (UTC) when the clock changes between two readings of a wall time."""
    low, high = (one, other) if one < other else (other, one)
    after = high.astimezone(where).utcoffset()
    while high - low > _TICK:
        middle = low + (high - low) // 2
        if middle.astimezone(where).utcoffset() == after:
            high = middle
        else:
            low = middle
    return high
