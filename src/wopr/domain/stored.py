"""What a stored row has to be so that it can be read, whoever wrote it. Pure.

Who reads rows leaves out those that are not, by name, and who writes for somebody else
refuses them by the same functions: so nothing is accepted that would be left out later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from wopr.domain.accesstoken import AccessToken
from wopr.domain.alertrule import AlertRule, reasons
from wopr.domain.checks import check_count, check_label, check_seconds, is_task_id
from wopr.domain.controls import Pause, Revocation
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import safe_text, shown
from wopr.domain.limits import Limit
from wopr.domain.localtime import as_utc
from wopr.domain.misfire import MOST_AT_ONCE
from wopr.domain.missed import LISTED
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.schedule import COLUMNS as SCHEDULE_COLUMNS
from wopr.domain.schedule import Schedule
from wopr.domain.status import TaskPriority, TaskStatus
from wopr.domain.task import COLUMNS, UNLIMITED_RETRIES

MOST = 2**63 - 1
"""The largest number that a column of 64 bits holds."""

_STATUSES = frozenset(status.value for status in TaskStatus)
_PRIORITIES = frozenset(int(priority) for priority in TaskPriority)
_AT = {column: COLUMNS.index(column) for column in COLUMNS}
_COUNTS = tuple(_AT[name] for name in ("attempt", "retry_count", "crashes"))
_MOST_COUNTED = 2**31 - 2
"""One more of it has to fit into its column: the next attempt counts on."""
_TIMES = tuple(
    _AT[name] for name in ("run_at", "started_at", "completed_at", "created_at", "scheduled_for")
)


def json_of(text: object, kind: type, what: str) -> Any:
    """Return what a text says as JSON, if that is a list, or a dict.

    Raises:
        InvalidCallError: it is not; NaN and the infinities are no JSON either.
    """
    wanted = "object" if kind is dict else "array"
    if isinstance(text, str):
        try:
            found = from_json(text, allow_inf_nan=False)
        except ValueError as error:
            reason = safe_text(error)
        else:
            if type(found) is kind:
                return found
            reason = "it is something else"
        raise InvalidCallError(f"{what} must be a JSON {wanted}, not {shown(text)}: {reason}")
    raise InvalidCallError(f"{what} must be a JSON {wanted} as text, not {shown(text)}")


# -- tasks ----------------------------------------------------------------------


def task_fault(row: Sequence[Any]) -> str | None:
    """Return why a row of ``tasks`` can't be read, in the order of its columns; usually nothing.

    Its arguments and its result are not looked at: who decodes them says what is wrong.
    """
    if row[_AT["status"]] not in _STATUSES:
        return f"its status is {shown(row[_AT['status']])}"
    if row[_AT["priority"]] not in _PRIORITIES:
        return f"its priority is {shown(row[_AT['priority']])}"
    for at in _COUNTS:
        if not 0 <= row[at] <= _MOST_COUNTED:
            return f"{COLUMNS[at]} is {shown(row[at])}, which nothing can have come to"
    for at in _TIMES:
        if row[at] is not None and type(row[at]) is not datetime:
            return f"{COLUMNS[at]} is {shown(row[at])}, which no datetime can be"
    options, parents = row[_AT["options"]], row[_AT["depends_on"]]
    return _options_fault(options) or (None if parents is None else _parents_fault(parents))


@lru_cache(maxsize=256)
def _options_fault(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        options = json_of(text, dict, "options")
        if not _are_texts(options.get("tags", [])):
            return f"the tags in its options are {shown(options['tags'])}"
        if not isinstance(options.get("flow", {}), dict):
            return f"what its options say about its flow is {shown(options['flow'])}"
        if (timeout := options.get("timeout")) is not None:
            check_seconds(timeout, "the timeout in its options", zero="allow")
    except InvalidCallError as error:
        return str(error)
    return None


def _parents_fault(text: str) -> str | None:
    try:
        parents = json_of(text, list, "depends_on")
    except InvalidCallError as error:
        return str(error)
    return None if _are_texts(parents) else f"depends_on is {shown(text)}, which are no ids"


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(one, str) for one in values)


def payload_fault(args: object, kwargs: object, result: object = None) -> str | None:
    """Return why the payloads of a task can't be read; usually nothing."""
    try:
        json_of(args, list, "args")
        json_of(kwargs, dict, "kwargs")
        if result is not None:
            from_json(str(result))
    except InvalidCallError as error:
        return str(error)
    except ValueError as error:
        return f"result must be JSON, not {shown(result)}: {safe_text(error)}"
    return None


# -- rules ------------------------------------------------------------------------


_NAMES: dict[RuleKind, Callable[[Rule], object]] = {
    RuleKind.LIMIT: lambda rule: Limit.from_json(rule.value).name,
    RuleKind.PAUSE: lambda rule: Pause.from_rule(rule).name,
    RuleKind.REVOCATION: lambda rule: Revocation.from_rule(rule).name,
    RuleKind.ALERT: lambda rule: _alert_name(rule.value),
    RuleKind.TOKEN: lambda rule: AccessToken.from_rule(rule).name,
}
"""Reads a rule, and tells the name of what it says."""


def _alert_name(value: str) -> str:
    try:
        return AlertRule.model_validate_json(value).name
    except ValidationError as error:
        raise InvalidCallError(reasons(error)) from None


def check_rule(rule: Rule) -> None:
    """Refuse a rule that says nothing, or something about another one than its name says.

    Raises:
        InvalidCallError: the message names it, and what is wrong.
    """
    what = f"The {rule.kind.value} {shown(rule.name)}"
    try:
        json_of(rule.value, dict, "its value")
        as_utc(rule.updated_at, "updated_at")
        named = _NAMES[rule.kind](rule)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        reason = safe_text(error).removesuffix(".")
        raise InvalidCallError(f"{what} can't be read: {reason}") from error
    if not isinstance(rule.name, str) or named != rule.name:
        raise InvalidCallError(f"{what} can't be read: its value is about {shown(named)}.")


# -- schedules ----------------------------------------------------------------------


def read_schedule(row: Sequence[Any]) -> Schedule:
    """Return the schedule of a row of ``schedules``, in the order of its columns.

    Raises:
        InvalidCallError: it can't be read; the message names it, and what is wrong.
    """
    try:
        _check_times(row)
        found = Schedule.from_row(row)
        _check_schedule(found)
        fault = payload_fault(found.args, found.kwargs) or _options_fault(found.options)
        if fault is not None:
            raise InvalidCallError(fault)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        reason = safe_text(error).removesuffix(".")
        named = shown(row[0]) if row else "?"
        raise InvalidCallError(f"Schedule {named} can't be read: {reason}") from error
    return found


def _check_schedule(found: Schedule) -> None:
    for name in ("name", "task", "category"):
        check_label(getattr(found, name), name)
    for name in ("run_as", "paused_reason"):
        if getattr(found, name) is not None:
            check_label(getattr(found, name), name, longest=1_000)
    check_count(found.max_retries, "max_retries", most=UNLIMITED_RETRIES)
    check_count(found.misfire_limit, "misfire_limit", least=1, most=MOST_AT_ONCE)
    if found.max_running is not None:
        check_count(found.max_running, "max_running", least=1, most=MOST_AT_ONCE)
    check_count(found.missed, "missed", most=MOST)
    check_count(found.skipped, "skipped", most=MOST)
    check_seconds(found.misfire_grace, "misfire_grace", zero="allow")
    check_seconds(found.jitter, "jitter", zero="allow")
    wrong = {
        "priority": type(found.priority) is not int or found.priority not in _PRIORITIES,
        "run_on_start": type(found.run_on_start) is not bool,
        "origin": found.origin not in {"code", "call"},
        "depends_on": not _are_texts(list(found.depends_on)),
        "missed_times": len(found.missed_times) > LISTED,
        "last_task_id": found.last_task_id is not None and not is_task_id(found.last_task_id),
    }
    for name in (name for name, is_wrong in wrong.items() if is_wrong):
        raise InvalidCallError(f"its {name} is {shown(getattr(found, name))}")


def _check_times(row: Sequence[Any]) -> None:
    for column, value in zip(SCHEDULE_COLUMNS, row, strict=True):
        if column.endswith("_at") and not isinstance(value, datetime | None):
            raise InvalidCallError(f"{column} is {shown(value)}, which no datetime can be")
