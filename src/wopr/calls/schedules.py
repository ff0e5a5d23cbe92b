"""Check what a schedule is asked to be, before anything is written, and make its row."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from wopr.auth.config import Auth
from wopr.calls.options import (
    SCHEDULE_OPTIONS,
    AttemptOptions,
    Options,
    PlaceOptions,
    check_options,
    encode_options,
)
from wopr.calls.parents import Parents
from wopr.calls.registry import Registry, TaskDefinition
from wopr.calls.tasks import new_task
from wopr.domain.checks import (
    check_count,
    check_label,
    check_member,
    check_priority,
    check_seconds,
    check_tags,
)
from wopr.domain.clock import Clock
from wopr.domain.errors import InvalidCallError, InvalidScheduleSpecificationError
from wopr.domain.jsontext import shown, type_name
from wopr.domain.localtime import as_utc, from_wall, zone
from wopr.domain.misfire import MOST_AT_ONCE, Misfire, Overlap
from wopr.domain.retry import RetryPolicy
from wopr.domain.schedule import Schedule
from wopr.domain.scheduleoptions import WHEN, WhenOptions, parse_schedule_options
from wopr.domain.snapshot import decode_options
from wopr.domain.triggers import Trigger

CALL = frozenset({"args", "kwargs", "depends_on"})
TASK = frozenset({*AttemptOptions.__annotations__, *PlaceOptions.__annotations__, "tags"})
_CHECKS: dict[str, Callable[[object], Any]] = {
    "misfire": lambda value: check_member(value, "misfire", Misfire),
    "overlap": lambda value: check_member(value, "overlap", Overlap),
    "misfire_grace": lambda value: check_seconds(value, "misfire_grace", zero="allow"),
    "jitter": lambda value: check_seconds(value, "jitter", zero="allow"),
    "misfire_limit": lambda value: check_count(value, "misfire_limit", least=1, most=MOST_AT_ONCE),
    "run_on_start": lambda value: _switch(value, "run_on_start"),
}


@dataclass(frozen=True, slots=True)
class ScheduleMaker:
    """Makes the rows of schedules from what people ask for."""

    registry: Registry
    clock: Clock
    auth: Auth | None

    def new(
        self,
        name: str | None,
        task: str,
        options: Mapping[str, Any],
        *,
        origin: str,
    ) -> Schedule:
        """Return a new schedule; without a name it has the one of its task.

        Raises:
            TaskNotRegisteredError: nothing has the task's name.
            InvalidCallError: a value is wrong.
        """
        definition = self.registry.get(task)
        new = new_schedule(
            definition, task if name is None else name, self.clock, options, origin=origin
        )
        self._check_identity(new)
        return new

    def changed(self, old: Schedule, options: Mapping[str, Any]) -> Schedule:
        """Return a schedule with some options changed.

        Raises:
            InvalidCallError: a value is wrong.
        """
        definition = self.registry.definitions.get(old.task)
        new = with_options(old, definition, self.clock, options)
        self._check_identity(new)
        return new

    def _check_identity(self, schedule: Schedule) -> None:
        if schedule.run_as is not None and self.auth is not None:
            self.auth.service_identity(schedule.run_as)


def new_schedule(
    definition: TaskDefinition, name: str, clock: Clock, options: Mapping[str, Any], *, origin: str
) -> Schedule:
    """Return the row of a new schedule, without a plan.

    Args:
        definition: of the task that it enqueues.
        name: of the schedule.
        clock: for nothing that is stored.
        options: as in :class:`wopr.calls.options.ScheduleOptions`.
        origin: who declares it: ``code`` or ``call``.

    Raises:
        InvalidScheduleSpecificationError: not exactly one of the forms that say when it fires
            is given, or it can't be read.
        InvalidCallError: another value can't be what it has to be.
    """
    check_options(options, SCHEDULE_OPTIONS, "A schedule has no option")
    label = check_name(name)
    trigger = trigger_of(options)
    plan = _plan(options)
    if "overlap" not in plan:  # who makes up for all that was missed wants more than one run
        all_of_them = plan.get("misfire") is Misfire.RUN_ALL and plan.get("max_running") is None
        plan["overlap"] = Overlap.ALLOW if all_of_them else Overlap.SKIP
    parents = _parents(options.get("depends_on", ()))
    args, kwargs = _call(options)
    holes = Parents()
    args, kwargs = holes.take_results(args, kwargs)
    if holes.places:
        raise InvalidCallError(
            f"Schedule {name!r} has ResultOf among its arguments. What a schedule depends on are "
            "other schedules: depends_on=['name'], and the function has a parameter dep_name."
        )
    kwargs |= _holes(holes, parents, definition, args, set(kwargs))
    plain = replace(definition, carriers=[])  # who enqueues is known when it fires
    given = {key: options[key] for key in TASK if options.get(key) is not None}
    new = new_task(plain, args, kwargs, clock, cast("Options", given))
    return _checked(
        Schedule(
            name=label,
            task=definition.name,
            category=new.category,
            priority=new.priority,
            max_retries=new.max_retries,
            args=new.args,
            kwargs=new.kwargs,
            options=_with_results(new.options, holes),
            trigger=trigger,
            depends_on=parents,
            origin=origin,
            **plan,
        )
    )


def with_options(
    old: Schedule, definition: TaskDefinition | None, clock: Clock, options: Mapping[str, Any]
) -> Schedule:
    """Return a schedule with some of its options changed, without a new plan.

    Args:
        old: it is not changed.
        definition: of its task; needed only if the arguments or ``depends_on`` change.
        clock: for nothing that is stored.
        options: those to change; as in :func:`new_schedule`.

    Raises:
        InvalidScheduleSpecificationError: when it fires can't be read.
        InvalidCallError: another value can't be what it has to be.
    """
    check_options(options, SCHEDULE_OPTIONS, "A schedule has no option")
    found = replace(old, **_plan(options))
    if WHEN & options.keys():
        found.trigger = trigger_of(options)
    if options.get("category") is not None:
        found.category = check_label(options["category"], "category")
    if options.get("priority") is not None:
        found.priority = check_priority(options["priority"])
    if options.get("max_retries") is not None:
        found.max_retries = check_count(options["max_retries"], "max_retries")
    found.options = _task_options(old.options, options)
    if CALL & options.keys():
        if definition is None:
            raise InvalidCallError(
                f"The arguments of schedule {old.name!r} can be changed only where its task "
                f"{old.task!r} is registered: they are checked against the function."
            )
        _change_call(found, definition, clock, options)
    return _checked(found)


def trigger_of(options: Mapping[str, Any]) -> Trigger:
    """Return what the options say about when a schedule fires.

    Raises:
        InvalidScheduleSpecificationError: not exactly one of the forms is given, or it can't
            be read.
    """
    when = {key: options[key] for key in WHEN & options.keys()}
    return parse_schedule_options(**cast("WhenOptions", when))


def check_name(name: object) -> str:
    """Return the name of a schedule, if it can be one."""
    if not isinstance(name, str):
        raise InvalidCallError(
            f"A schedule's name must be a str, not {type_name(name)} {shown(name)}."
        )
    return check_label(name, "a schedule's name")


def _plan(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked values of the options that are stored as they are."""
    plan = {
        key: check(options[key]) for key, check in _CHECKS.items() if options.get(key) is not None
    }
    for key in ("start_at", "end_at"):  # None takes these away
        if key in options:
            plan[key] = _moment(options[key], key, options.get("tz"))
    if "max_running" in options:
        most = options["max_running"]
        if most is not None:
            most = check_count(most, "max_running", least=1, most=MOST_AT_ONCE)
        plan["max_running"] = most
    if "run_as" in options:
        run_as = options["run_as"]
        plan["run_as"] = None if run_as is None else check_label(run_as, "run_as")
    return plan


def _switch(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidCallError(f"{what} must be True or False, not {shown(value)}.")
    return value


def _moment(value: object, what: str, tz: str | None) -> datetime | None:
    """Return a moment in UTC; a naive one is a wall time in ``tz``."""
    if value is None:
        return None
    if isinstance(value, datetime) and value.utcoffset() is None:
        return from_wall(value, zone(tz or "UTC"))
    return as_utc(value, what)  # type: ignore[arg-type]  # it refuses what is no datetime


def _parents(names: object) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Sequence | set | frozenset):
        raise InvalidCallError(
            f"depends_on must be a list of names of schedules, not {shown(names)}. For one write "
            "depends_on=['name']."
        )
    return tuple(dict.fromkeys(check_name(name) for name in names))


def _call(options: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    args, kwargs = options.get("args", ()), options.get("kwargs")
    if not isinstance(args, tuple | list):
        raise InvalidCallError(f"args must be a tuple or a list, not {shown(args)}.")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise InvalidCallError(f"kwargs must be a dict, not {shown(kwargs)}.")
    return tuple(args), dict(kwargs or {})


def _holes(
    holes: Parents,
    parents: Sequence[str],
    definition: TaskDefinition,
    args: Sequence[Any],
    given: set[str],
) -> dict[str, Any]:
    """Return the keywords of the function that take results of other schedules."""
    numbers: dict[str, str | int] = {name: holes.number(at) for at, name in enumerate(parents)}
    return holes.take_names(numbers, definition.codec, args, given)


def _with_results(options: str | None, holes: Parents) -> str | None:
    values = {key: value for key, value in _decoded(options).items() if key != "results"}
    if holes.places:
        values["results"] = holes.places
    return json.dumps(values) if values else None


def _decoded(options: str | None) -> dict[str, Any]:
    return dict(decode_options(options)) if options else {}


def _task_options(stored: str | None, options: Mapping[str, Any]) -> str | None:
    """Return the stored options of the task with those that change."""
    values = _decoded(stored)
    more: dict[str, Any] = {}
    if options.get("timeout") is not None:
        more["timeout"] = check_seconds(options["timeout"], "timeout", zero="refuse")
    if options.get("retry") is not None:
        more["retry"] = RetryPolicy.of(options["retry"])
    if options.get("tags") is not None:
        more["tags"] = check_tags(options["tags"])
        values.pop("tags", None)
    values |= _decoded(encode_options(**more))
    return json.dumps(values) if values else None


def _change_call(
    schedule: Schedule, definition: TaskDefinition, clock: Clock, options: Mapping[str, Any]
) -> None:
    """Give a schedule other arguments, or other schedules to depend on."""
    if "depends_on" in options:
        schedule.depends_on = _parents(options["depends_on"])
    holes = Parents()
    if {"args", "kwargs"} & options.keys():
        args, kwargs = _call(options)
        kwargs |= _holes(holes, schedule.depends_on, definition, args, set(kwargs))
        new = new_task(replace(definition, carriers=[]), args, kwargs, clock, {})
        schedule.args, schedule.kwargs = new.args, new.kwargs
    else:
        filled = _decoded(schedule.options).get("results", {}).get("kwargs", {})
        given = {k: v for k, v in json.loads(schedule.kwargs).items() if k not in filled}
        ordered = json.loads(schedule.args)
        taken = _holes(holes, schedule.depends_on, definition, ordered, set(given))
        schedule.kwargs = json.dumps(given | dict.fromkeys(taken))
    schedule.options = _with_results(schedule.options, holes)


def _checked(schedule: Schedule) -> Schedule:
    start, end = schedule.start_at, schedule.end_at
    if start is not None and end is not None and end < start:
        raise InvalidScheduleSpecificationError(
            f"Schedule {schedule.name!r} ends ({end}) before it starts ({start})."
        )
    if schedule.max_running is not None and schedule.overlap is Overlap.ALLOW:
        raise InvalidCallError(
            f"Schedule {schedule.name!r} has max_running={schedule.max_running} and Overlap.ALLOW, "
            "which is any number at once. Say what becomes of what is due beyond that: "
            "overlap=Overlap.SKIP, QUEUE_ONE or CANCEL_RUNNING."
        )
    return schedule
