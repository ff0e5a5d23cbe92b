"""The schedules of a queue for ``celery beat``, as far as that can follow them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.schedules import schedule as interval

from wopr.auth.carrier import AuthCarrier
from wopr.domain.crontab import pattern_of
from wopr.domain.errors import InvalidScheduleSpecificationError
from wopr.domain.misfire import Misfire, Overlap
from wopr.domain.schedule import Schedule
from wopr.domain.snapshot import decode_options
from wopr.domain.triggers import At, Cron, Interval
from wopr.queue.queue import TaskQueue, inside

_DEFAULTS: dict[str, Any] = {
    "misfire": Misfire.RUN_ONCE,
    "overlap": Overlap.SKIP,
    "jitter": 0.0,
    "start_at": None,
    "end_at": None,
    "run_on_start": False,
    "depends_on": (),
    "run_as": None,
    "max_running": None,
}
"""What a schedule may not say otherwise: ``celery beat`` has nothing like it."""


def beat_schedule(app: Celery, queue: TaskQueue) -> dict[str, dict[str, Any]]:
    """Return the schedules that are declared for a queue, for ``app.conf.beat_schedule``.

    ``celery beat`` sends them past the queue: no row, no history, no retry, and nothing keeps a run
    from beginning while the one before goes on. A queue that has a scheduler of its own needs
    none of this.

    Raises:
        InvalidScheduleSpecificationError: a schedule says what Celery can't follow; the message
            says which, and why.
    """
    core = inside(queue)
    entries: dict[str, dict[str, Any]] = {}
    for one in core.access.clockwork.declared:
        _check(one)
        known = core.registry.definitions.get(one.task)
        if known is not None and any(isinstance(each, AuthCarrier) for each in known.carriers):
            raise _refused(
                one, "its task is protected, and an entry of celery beat has no identity to run as"
            )
        entries[one.name] = {
            "task": one.task,
            "schedule": _when(app, one),
            "args": json.loads(one.args),
            "kwargs": json.loads(one.kwargs),
            "options": {"queue": one.category},
        }
    return entries


def _check(one: Schedule) -> None:
    for name, default in _DEFAULTS.items():
        if getattr(one, name) != default:
            raise _refused(one, f"it has {name}=, which celery beat has nothing like")
    options: Mapping[str, Any] = decode_options(one.options) if one.options else {}
    if options:
        raise _refused(one, f"it has {', '.join(sorted(options))}, which stays in a queue's row")


def _when(app: Celery, one: Schedule) -> Any:
    trigger = one.trigger
    if isinstance(trigger, Interval):
        return interval(run_every=trigger.every, app=app)
    if isinstance(trigger, At):
        _check_zone(app, one, trigger.tz)
        if trigger.time.second or trigger.time.microsecond:
            raise _refused(one, f"celery beat knows minutes, and it fires at {trigger.time}")
        return crontab(hour=trigger.time.hour, minute=trigger.time.minute, app=app)
    if isinstance(trigger, Cron):
        _check_zone(app, one, trigger.tz)
        return crontab(**fields_of(one, trigger), app=app)
    raise _refused(one, f"celery beat knows intervals and crontabs, and this is {trigger!r}")


def _check_zone(app: Celery, one: Schedule, tz: str) -> None:
    """Let the clock on the wall be that of the app: an entry has none of its own."""
    own = str(app.conf.timezone or "UTC")
    if tz != own:
        raise _refused(
            one,
            f"it is of the zone {tz!r}, and all entries of this Celery app are of {own!r}. Set "
            f"app.conf.timezone = {tz!r} if that is right for all, or leave it to wopr's scheduler",
        )


def fields_of(one: Schedule, trigger: Cron) -> dict[str, str]:
    """Return the fields of a Celery crontab: numbers joined by commas, ``*`` for every.

    Raises:
        InvalidScheduleSpecificationError: Celery has no such pattern.
    """
    numbers = pattern_of(trigger.expression, day_and_weekday=trigger.day_and_weekday).numbers()
    if numbers is None:
        raise _refused(one, f"celery beat has nothing like {trigger.expression!r}: L, LW or #")
    if numbers.seconds != {0}:
        raise _refused(one, f"celery beat knows minutes, and {trigger.expression!r} has seconds")
    if numbers.either_day:
        raise _refused(
            one,
            f"{trigger.expression!r} fires if the day of month or the weekday matches, and celery "
            "beat fires only if both do. Make two schedules of it",
        )
    return {
        "minute": _text(numbers.minutes, 60),
        "hour": _text(numbers.hours, 24),
        "day_of_month": _text(numbers.days, 31),
        "month_of_year": _text(numbers.months, 12),
        "day_of_week": _text(numbers.weekdays, 7),
    }


def _text(numbers: frozenset[int], all_of_them: int) -> str:
    return "*" if len(numbers) == all_of_them else ",".join(map(str, sorted(numbers)))


def _refused(one: Schedule, why: str) -> InvalidScheduleSpecificationError:
    return InvalidScheduleSpecificationError(f"Schedule {one.name!r} can't go to Celery: {why}.")
