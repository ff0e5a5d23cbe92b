"""Time zones beside JSON, which has no form for their names, nor for the second of two hours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timezone, tzinfo
from zoneinfo import ZoneInfo

from pydantic_core import TzInfo

ZONE, FOLD = "zone", "fold"
_KEYS = {"$type", "value", ZONE, FOLD}

Moment = datetime | time


def zone_notes(value: datetime | time) -> dict[str, object]:
    """Return what ISO 8601 can't say about it: the zone's name, and ``fold``; most have neither."""
    notes: dict[str, object] = {}
    name = _name(value.tzinfo)
    if name is not None:
        notes[ZONE] = name
    if value.fold:
        notes[FOLD] = value.fold
    return notes


def zone_problem(value: datetime | time) -> str | None:
    """Say why its zone would be lost; ``None`` if it would not."""
    zone = value.tzinfo
    if zone is None or _name(zone) is not None:
        return None
    fixed = _fixed(zone)
    if fixed is not None and same_zone(fixed, timezone(fixed.utcoffset(None))):
        return None
    return (
        f"its time zone (a {type(zone).__name__}) has no name that could be stored. Use "
        "zoneinfo.ZoneInfo, or datetime.timezone for a fixed offset"
    )


def is_noted(json: Mapping[str, object]) -> bool:
    """Tell whether the JSON of a datetime or time has such notes."""
    has_notes = ZONE in json or FOLD in json
    return has_notes and json.get("$type") in ("datetime", "time") and json.keys() <= _KEYS


def with_notes(value: Moment, notes: Mapping[str, object]) -> Moment:
    """Return the datetime or time with the zone and the fold that were noted.

    Raises:
        ZoneInfoNotFoundError: there is no such zone on this machine.
    """
    fold = 1 if notes.get(FOLD) else 0
    if ZONE not in notes:
        return value.replace(fold=fold)
    return value.replace(tzinfo=ZoneInfo(str(notes[ZONE])), fold=fold)


def plain_zone(value: Moment) -> Moment:
    """Return it with Python's own class of a fixed offset instead of pydantic's."""
    if type(value.tzinfo) is not TzInfo:
        return value
    return value.replace(tzinfo=_fixed(value.tzinfo), fold=value.fold)


def same_zone(one: tzinfo | None, two: tzinfo | None) -> bool:
    """Tell whether two zones are the same: the same rules, under the same name."""
    if one is two:
        return True
    names = _name(one), _name(two)
    if names != (None, None):
        return names[0] == names[1]
    first, second = _fixed(one), _fixed(two)
    if first is None or second is None:
        return False
    return first == second and first.tzname(None) == second.tzname(None)


def _name(zone: tzinfo | None) -> str | None:
    """Return the name of a zone with rules; those of pytz call it ``zone``."""
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    return name if type(name) is str else None


def _fixed(zone: tzinfo | None) -> timezone | None:
    """Return a zone as a fixed offset, if it is one: ours, pydantic's, or anybody's UTC."""
    if zone is None or type(zone) is timezone:
        return zone
    try:
        offset = zone.utcoffset(None)
        is_fixed = type(zone) is TzInfo or (not offset and zone.tzname(None) == "UTC")
        return timezone(offset) if is_fixed and offset is not None else None
    except Exception:  # noqa: BLE001 - whatever somebody's zone raises
        return None
