"""What a message may say: each value is checked as the public call checks it.

The annotations of the verbs are made of these types, and pydantic goes by them: nothing
arrives at the engine that a call in the owner's own process could not have given it.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    ConfigDict,
    FailFast,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
)
from typing_extensions import TypedDict  # pydantic's own, which typing's is not before 3.12

from wopr.domain.checks import LONGEST_SECONDS, check_id, check_label, check_tags
from wopr.domain.errors import InvalidCallError
from wopr.domain.retry import RetryPolicy
from wopr.domain.rule import Rule
from wopr.domain.schedule import Schedule, Unreadable
from wopr.domain.spoken import counted
from wopr.domain.stored import MOST, check_rule, json_of, read_schedule
from wopr.domain.task import UNLIMITED_RETRIES
from wopr.remote.rules import rule_from_plain

STRICT = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)
LONGEST_REASON = 1_000
LONGEST_ID = 200
KNOWN = 1_000
"""So many texts are remembered as good: the same few names come with nearly every task."""
MOST_CATEGORIES = 1_000
"""So many are asked about at a time."""
_OWNERS = (
    *("paused_at", "paused_reason", "last_fire_at", "last_task_id", "missed", "missed_times"),
    *("skipped", "created_at", "updated_at"),
)
"""Where a schedule stands: nobody says so of a new one."""


def _naive(moment: datetime) -> datetime:
    if moment.tzinfo is not None:
        raise ValueError("it must be naive, in UTC")
    return moment


def _absolute(text: str) -> str:
    if not os.path.isabs(text) or "\0" in text:
        raise ValueError("it must be the whole path of a directory")
    return text


def label(longest: int) -> Callable[[str], str]:
    """Return what checks a text that is no longer than that; it knows those it saw last."""

    @functools.lru_cache(KNOWN)
    def check(text: str) -> str:
        return check_label(text, "it", longest=longest)

    return check


def _json(kind: type) -> Callable[[str], str]:
    nothing = "{}" if kind is dict else "[]"

    def check(text: str) -> str:
        if text != nothing:  # as most named arguments are
            json_of(text, kind, "it")
        return text

    return check


def _options(text: str) -> str:
    options = _OPTIONS.validate_python(json_of(text, dict, "it"))
    check_tags(options.get("tags", ()))
    if "retry" in options:
        RetryPolicy.from_json(json.dumps(options["retry"]))
    return text


def _schedule(row: object) -> Schedule:
    if not isinstance(row, list | tuple):
        raise InvalidCallError(f"{row!r:.80} is no schedule")
    found = read_schedule(row)
    if isinstance(found.trigger, Unreadable):
        raise InvalidCallError(found.trigger.problem)
    if found.start_at and found.end_at and found.end_at < found.start_at:
        raise InvalidCallError("it ends before it starts")
    for name in (*found.depends_on, *filter(None, [found.run_as])):
        check_label(name, "a name of it")
    if found.options is not None:
        check_places(_options(found.options), len(found.depends_on))
    return found


def _new_schedule(row: object) -> Schedule:
    found = _schedule(row)
    if told := [name for name in _OWNERS if getattr(found, name)]:
        raise InvalidCallError(f"{', '.join(told)} of a new schedule: only its owner knows that")
    return found


def check_places(options: str | None, parents: int) -> None:
    """Refuse results of parents that there are not.

    Raises:
        InvalidCallError: the options ask for one.
    """
    if options is None or '"results"' not in options:
        return
    results = json_of(options, dict, "options").get("results", {})
    places = [one for kind in results.values() for one in kind.values()]
    for place in (one for some in places for one in (some if isinstance(some, list) else [some])):
        number = place["at"] if isinstance(place, dict) else place
        if not 0 <= number < parents:
            raise InvalidCallError(
                f"The options of a task say that it takes the result of parent {number}, and it "
                f"depends on {counted(parents, 'task')}, so nothing was carried out."
            )


def _rule(plain: object) -> Rule:
    rule = rule_from_plain(plain)
    check_rule(rule)
    return rule


Label = Annotated[str, AfterValidator(label(200))]
Reason = Annotated[str, AfterValidator(label(LONGEST_REASON))]
Place = Annotated[str, Field(min_length=1, max_length=4_096), AfterValidator(_absolute)]
TaskId = Annotated[str, Field(max_length=LONGEST_ID), AfterValidator(check_id)]
NewId = Annotated[
    str,
    Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"),
]
"""As :class:`wopr.domain.clock.IdFactory` makes them."""
Count = Annotated[int, Field(ge=0, le=2**31 - 2)]
Slots = Annotated[int, Field(ge=1, le=10_000)]
Rows = Annotated[int, Field(ge=1, le=2**31 - 2)]
Seq = Annotated[int, Field(ge=0, le=MOST)]
_Position = Annotated[str, Field(pattern=r"^[0-9]{1,5}$")]
Span = Annotated[float, Field(gt=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
Moment = Annotated[datetime, AfterValidator(_naive)]
RuleRow = Annotated[Rule, PlainValidator(_rule)]
ScheduleRow = Annotated[Any, PlainValidator(_schedule)]  # pydantic would look into Schedule
NewSchedule = Annotated[Any, PlainValidator(_new_schedule)]
RuleChange = Annotated[Rule, PlainValidator(rule_from_plain)]
"""Its value is some fields of a rule; what they make of it is checked where it is known."""

Counts = Annotated[dict[Label, Count], Field(max_length=MOST_CATEGORIES)]
Names = Annotated[list[str], FailFast()]
Rules = Annotated[list[RuleRow], FailFast()]
NewSchedules = Annotated[list[NewSchedule], FailFast()]
"""One misfit is enough: to tell of each of a million takes longer than the calls would."""


class ToMove(TypedDict):
    """What is said by who moves the queue, and so asks for the file whatever goes on there."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    grace: Seconds
    """What runs may end within so many seconds."""


class _At(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]

    at: int


_Place = int | _At
_Places = _Place | list[_Place]


class _Results(TypedDict, total=False):
    """Where results of parents go."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    args: dict[_Position, _Places]
    kwargs: dict[str, _Places]


class _Role(TypedDict, total=False):
    """What a task is in its flow."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    key: Label
    listed: Literal[True]


class _Options(TypedDict, total=False):
    """The options of a task that are known; carriers have more."""

    __pydantic_config__ = ConfigDict(strict=True, extra="allow")  # type: ignore[misc]

    tags: list[str]
    flow: _Role
    retry: dict[str, Any]
    timeout: Span
    soft_timeout: Span
    delay: Span
    at_front: Literal[True]
    retain: Seconds
    on_parent_failure: Literal["cancel", "fail", "run", "only"]
    results: _Results


_OPTIONS: TypeAdapter[_Options] = TypeAdapter(_Options)


class NewTaskMessage(TypedDict):
    """A new task as it travels."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    name: Label
    category: Label
    priority: Annotated[int, Field(ge=1, le=4)]
    max_retries: Annotated[int, Field(ge=0, le=UNLIMITED_RETRIES)]
    args: Annotated[str, AfterValidator(_json(list))]
    kwargs: Annotated[str, AfterValidator(_json(dict))]
    run_at: Moment | None
    unique_key: Label | None
    on_conflict: Literal["skip", "raise", "replace"]
    options: Annotated[str, AfterValidator(_options)] | None
    depends_on: list[TaskId | Count] | tuple[TaskId | Count, ...]
    flow_id: Annotated[str, AfterValidator(lambda text: str(UUID(text)))] | None
    schedule: Label | None
    scheduled_for: Moment | None
    id: NewId | None


NewTasks = Annotated[list[NewTaskMessage], FailFast()]


class FilterMessage(TypedDict):
    """Which tasks to list, as it travels."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    category: Label | None
    status: Literal["pending", "started", "success", "failed", "cancelled", "retry"] | None
    name: Label | None
    flow_id: TaskId | None
    schedule: Label | None
    limit: Annotated[int, Field(ge=0, le=1_000_000)]
    offset: Count
    before_seq: Seq | None


def misfits(error: ValidationError) -> str:
    """Say what is wrong with the values of a message."""
    said = [
        ": ".join([".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ")])
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    more = f" (and {len(said) - 3} more)" if len(said) > 3 else ""
    return "; ".join(said[:3]) + more


def misfit(verb: str, error: ValidationError) -> InvalidCallError:
    """Return the error for a message that is none of this verb."""
    return InvalidCallError(
        f"The message {verb!r} says what no call may, so nothing was carried out: "
        f"{misfits(error)}. A client of the same version of wopr sends none like it."
    )
