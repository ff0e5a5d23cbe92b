"""The options of a schedule that say when it fires: exactly one of several forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any, TypedDict, Unpack

from wopr.domain.combined import AllOf, AnyOf
from wopr.domain.crontab import Crontab
from wopr.domain.errors import InvalidScheduleSpecificationError
from wopr.domain.jsontext import safe_text, shown, type_name
from wopr.domain.localtime import as_utc, from_wall, time_of_day, zone
from wopr.domain.monthly import Monthly
from wopr.domain.triggers import At, Cron, Interval, Once, Trigger

Every = Mapping[str, float] | timedelta | float
"""``{"minutes": 5}``, ``timedelta(minutes=5)`` or seconds."""

EXACTLY_ONE_TASK_OPTION = "Task must specify exactly one of every / at / run_at schedule options"
"""What ``TaskRegistry`` says when a task has none or several."""


class WhenOptions(TypedDict, total=False):
    """When a schedule fires: exactly one of these, and the time zone."""

    every: Every | None
    """``{"minutes": 5}`` (the names of ``timedelta``), a timedelta, or seconds."""
    interval: timedelta | float | None
    """A timedelta, or seconds."""
    at: str | time | None
    """Daily: ``"14:30"``, ``"14:30:00"`` or a ``datetime.time``."""
    crontab: Crontab | str | None
    """A ``Crontab``, or a cron expression."""
    cron: str | None
    """An expression of 5 fields, or 6 with the second first."""
    run_at: datetime | None
    """Once. A naive one is a wall time in ``tz``."""
    monthly: Monthly | None
    """Every so many months on a day, which may be the last."""
    any_of: Sequence[Trigger | Mapping[str, Any]] | None
    """Whenever one of several fires: triggers, or dicts of these options."""
    all_of: Sequence[Trigger | Mapping[str, Any]] | None
    """When all of several fire at the same moment."""
    tz: str | None
    """Name of the time zone, default UTC; for ``at``, ``crontab``, ``cron``, ``run_at`` and
    ``monthly``, also inside of ``any_of`` and ``all_of`` where no other is named."""


WHEN = frozenset(WhenOptions.__annotations__)
_EXACTLY_ONE = (
    "Exactly one of 'interval', 'at', or 'crontab' must be provided "
    "('every', 'cron', 'run_at', 'monthly', 'any_of' and 'all_of' count too)"
)
_UNITS = ("weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds")


def parse_schedule_options(**options: Unpack[WhenOptions]) -> Trigger:
    """Return the trigger that a schedule's options mean.

    Args:
        **options: see :class:`WhenOptions`.

    Returns:
        An ``Interval`` has no anchor yet: the schedule sets it.

    Raises:
        InvalidScheduleSpecificationError: None or several were given, or one is wrong.
    """
    unknown = sorted(options.keys() - WHEN)
    if unknown:
        raise InvalidScheduleSpecificationError(
            f"There is no option {', '.join(map(repr, unknown))} that says when a schedule fires; "
            f"there are {', '.join(sorted(WHEN))}."
        )
    given = {name: options.get(name) for name in _READERS if options.get(name) is not None}
    if len(given) != 1:
        got = f"got {' and '.join(given)}" if given else "got none"
        raise InvalidScheduleSpecificationError(
            f"{_EXACTLY_ONE}; {got}. Example: at='14:30', tz='Europe/Berlin'."
        )
    tz = options.get("tz")
    if tz is not None:
        zone(tz)
    ((name, value),) = given.items()
    return _READERS[name](name, value, tz)


def _daily(_name: str, at: Any, tz: str | None) -> At:
    return At(time_of_day(at) if isinstance(at, str) else at, tz or "UTC")


def _cron(name: str, value: Any, tz: str | None) -> Cron:
    if name == "crontab" and isinstance(value, Crontab):
        return Cron.of(value, tz or "UTC")
    return Cron(value, tz or "UTC")


def _once(_name: str, run_at: Any, tz: str | None) -> Once:
    return Once(_moment(run_at, tz or "UTC"))


def _monthly(_name: str, value: object, tz: str | None) -> Monthly:
    if not isinstance(value, Monthly):
        raise InvalidScheduleSpecificationError(
            f"'monthly' takes Monthly(3, day='last', at='09:00'), not {shown(value)}."
        )
    if tz is None or value.tz == tz:
        return value
    if value.tz != "UTC":
        raise InvalidScheduleSpecificationError(
            f"The months are of the zone {value.tz!r} and tz is {tz!r}: give one."
        )
    return replace(value, tz=tz)


def _combined(name: str, value: object, tz: str | None) -> Trigger:
    kind = AnyOf if name == "any_of" else AllOf
    if not isinstance(value, list | tuple):
        return kind(value)  # type: ignore[arg-type]  # it refuses that
    return kind(tuple(_part(name, part, tz) for part in value))


def _part(name: str, part: Any, tz: str | None) -> Any:
    """Return the trigger that one of several is; what is none is refused by who takes them."""
    if not isinstance(part, Mapping):
        return part
    options = dict(part)
    if tz is not None and not {"every", "interval"} & options.keys():
        options.setdefault("tz", tz)
    try:
        return parse_schedule_options(**options)
    except TypeError as error:  # its keys are no names
        if isinstance(error, InvalidScheduleSpecificationError):
            raise
        raise InvalidScheduleSpecificationError(
            f"{shown(part)} in {name} does not say when: {safe_text(error)}."
        ) from error


def _interval(name: str, value: object, tz: str | None) -> Interval:
    if tz is not None:
        raise InvalidScheduleSpecificationError(
            f"'{name}' counts real time and has no time zone, but tz={tz!r} was given. Leave tz "
            f"out, or give a time of day: at='14:30', tz={tz!r}."
        )
    units: Mapping[str, float]
    if isinstance(value, timedelta):
        return Interval(value)
    if isinstance(value, Mapping) and name == "every":
        units = _checked(value)
    elif type(value) in (int, float):
        units = {"seconds": value}  # type: ignore[dict-item]
    else:
        raise InvalidScheduleSpecificationError(
            f"'{name}' can't be {type_name(value)} {shown(value)}: give timedelta(minutes=5) "
            f"or a number of seconds; every={{'minutes': 5}} works too."
        )
    try:
        every = timedelta(**units)
    except (OverflowError, ValueError) as error:  # inf, nan, and what no timedelta can hold
        raise InvalidScheduleSpecificationError(
            f"'{name}' can't be {shown(value)}: {safe_text(error)}. Example: timedelta(minutes=5)."
        ) from error
    return Interval(every)


def _checked(every: Mapping[str, float]) -> Mapping[str, float]:
    if not every:
        raise InvalidScheduleSpecificationError(
            "'every' field cannot be an empty dictionary. Example: {'minutes': 5}."
        )
    for unit, count in every.items():
        if unit in {"month", "months"}:
            raise InvalidScheduleSpecificationError(
                "Months are of different lengths, so 'every' can't count them. Say "
                f"monthly=Monthly({shown(count)}, day='last', at='09:00'), or day=1 to 31."
            )
        if unit not in _UNITS:
            raise InvalidScheduleSpecificationError(
                f"Invalid key '{unit}' in 'every' field. Allowed keys are: {', '.join(_UNITS)}."
            )
        if type(count) not in (int, float):
            raise InvalidScheduleSpecificationError(
                f"'{unit}' in 'every' field must be a number, not {type_name(count)} "
                f"{shown(count)}."
            )
    return every


def _moment(run_at: datetime, tz: str) -> datetime:
    if not isinstance(run_at, datetime) or run_at.utcoffset() is not None:
        return as_utc(run_at, "run_at")
    try:
        return from_wall(run_at, zone(tz))
    except OverflowError as error:
        raise InvalidScheduleSpecificationError(
            f"run_at {run_at.isoformat()} in {tz} is outside of the years 1 to 9999 in UTC."
        ) from error


_READERS: dict[str, Callable[[str, Any, str | None], Trigger]] = {
    "every": _interval,
    "interval": _interval,
    "at": _daily,
    "crontab": _cron,
    "cron": _cron,
    "run_at": _once,
    "monthly": _monthly,
    "any_of": _combined,
    "all_of": _combined,
}
"""What makes a trigger of each form."""
