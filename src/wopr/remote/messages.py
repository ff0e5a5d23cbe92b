"""What a message may say: each value is checked as the public call checks it.

The annotations of the verbs are made of these types, and pydantic goes by them: nothing
arrives at the engine that a call in the owner's own process could not have given it.
"""

from __future__ import annotations

import json
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
from wopr.domain.stored import MOST, check_rule, json_of, read_schedule
from wopr.domain.task import UNLIMITED_RETRIES
from wopr.remote.rules import rule_from_plain

STRICT = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)
LONGEST_REASON = 1_000
LONGEST_ID = 200


def _naive(moment: datetime) -> datetime:
    if moment.tzinfo is not None:
        raise ValueError("it must be naive, in UTC")
    return moment


def _label(longest: int) -> Callable[[str], str]:
    return lambda text: check_label(text, "it", longest=longest)


def _json(kind: type) -> Callable[[str], str]:
    def check(text: str) -> str:
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
    return found


def _rule(plain: object) -> Rule:
    rule = rule_from_plain(plain)
    check_rule(rule)
    return rule


Label = Annotated[str, AfterValidator(_label(200))]
Reason = Annotated[str, AfterValidator(_label(LONGEST_REASON))]
TaskId = Annotated[str, Field(max_length=LONGEST_ID), AfterValidator(check_id)]
Count = Annotated[int, Field(ge=0, le=2**31 - 2)]
Seq = Annotated[int, Field(ge=0, le=MOST)]
Seconds = Annotated[float, Field(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
Moment = Annotated[datetime, AfterValidator(_naive)]
RuleRow = Annotated[Rule, PlainValidator(_rule)]
ScheduleRow = Annotated[Any, PlainValidator(_schedule)]  # pydantic would look into Schedule
RuleChange = Annotated[Rule, PlainValidator(rule_from_plain)]
"""Its value is some fields of a rule; what they make of it is checked where it is known."""

Names = Annotated[list[str], FailFast()]
Rules = Annotated[list[RuleRow], FailFast()]
ScheduleRows = Annotated[list[ScheduleRow], FailFast()]
"""One misfit is enough: to tell of each of a million takes longer than the calls would."""

_Place = int | dict[Literal["at"], int]
_Places = dict[str, _Place | list[_Place]]


class _Options(TypedDict, total=False):
    """The options of a task that are known; carriers have more."""

    __pydantic_config__ = ConfigDict(strict=True, extra="allow")  # type: ignore[misc]

    tags: list[str]
    flow: dict[str, Any]
    retry: dict[str, Any]
    timeout: Seconds
    soft_timeout: Seconds
    on_parent_failure: Literal["cancel", "fail", "run"]
    results: dict[Literal["args", "kwargs"], _Places]


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


def misfit(verb: str, error: ValidationError) -> InvalidCallError:
    """Return the error for a message that is none of this verb."""
    said = [
        ": ".join([".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ")])
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    more = f" (and {len(said) - 3} more)" if len(said) > 3 else ""
    return InvalidCallError(
        f"The message {verb!r} says what no call may, so nothing was carried out: "
        f"{'; '.join(said[:3])}{more}. A client of the same version of wopr sends none like it."
    )
