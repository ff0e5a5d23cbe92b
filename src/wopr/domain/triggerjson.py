"""Triggers as they are stored: JSON back to values, and values that go on where others began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any

from wopr.domain.combined import LEVELS, AllOf, AnyOf
from wopr.domain.errors import InvalidScheduleSpecificationError
from wopr.domain.jsontext import safe_text, shown
from wopr.domain.monthly import Monthly
from wopr.domain.triggers import At, Cron, Interval, Once, Trigger


def trigger_from_json(data: Mapping[str, object]) -> Trigger:
    """Return the trigger that ``to_json`` stored.

    Raises:
        InvalidScheduleSpecificationError: It is none, or one of a newer version.
    """
    try:
        found = _read(dict(data), LEVELS)
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise InvalidScheduleSpecificationError(
            f"The stored trigger {shown(data, 300)} can't be read: {safe_text(error)}. "
            f"Add the schedule again, or remove it."
        ) from error
    if found is None:
        raise InvalidScheduleSpecificationError(
            f"The stored trigger {shown(data, 300)} is of a type that this version of wopr does "
            f"not know. Was it written by a newer one? Upgrade wopr, or add the schedule again."
        )
    return found


def _read(values: dict[str, Any], levels: int) -> Trigger | None:
    kind = values.pop("type")
    if kind in {"any", "all"}:
        if not levels:
            raise ValueError("too many levels")
        parts = tuple(_read(dict(part), levels - 1) for part in values["of"])
        known = tuple(part for part in parts if part is not None)
        combined = AnyOf if kind == "any" else AllOf
        return combined(known) if len(known) == len(parts) else None
    return _read_one(kind, values)


def _read_one(kind: object, values: dict[str, Any]) -> Trigger | None:
    if kind == "interval":
        anchor = values["anchor"]
        return Interval(
            timedelta(seconds=values["seconds"]),
            None if anchor is None else datetime.fromisoformat(anchor),
        )
    if kind == "at":
        return At(time.fromisoformat(values["time"]), values["tz"])
    if kind == "cron":
        return Cron(**values)
    if kind == "once":
        return Once(datetime.fromisoformat(values["moment"]))
    if kind == "monthly":
        first = values["first"]
        return Monthly(
            values["every"],
            day=values["day"],
            at=time.fromisoformat(values["at"]),
            tz=values["tz"],
            first=None if first is None else date.fromisoformat(first),
        )
    return None


def anchored(trigger: Trigger, moment: datetime) -> Trigger:
    """Return a trigger whose parts that count from somewhere count from a moment, unless told."""
    if isinstance(trigger, Interval | Monthly):
        return trigger.anchored(moment)
    if isinstance(trigger, AnyOf | AllOf):
        return replace(trigger, of=tuple(anchored(part, moment) for part in trigger.of))
    return trigger


def continued(old: Trigger, new: Trigger) -> Trigger:
    """Return the new trigger; what says the same as before goes on counting from where it began."""
    if isinstance(old, Interval) and isinstance(new, Interval):
        return old if old.every == new.every else new
    if isinstance(old, Monthly) and isinstance(new, Monthly) and new.first is None:
        same = replace(new, first=old.first)
        return old if same == old else new
    for kind in (AnyOf, AllOf):
        if isinstance(old, kind) and isinstance(new, kind) and len(old.of) == len(new.of):
            pairs = zip(old.of, new.of, strict=True)
            return kind(tuple(continued(one, other) for one, other in pairs))
    return new
