"""Check a call before anything is written, and turn it into a new task."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from wopr.calls.options import encode_options
from wopr.calls.parents import has_results, parents_of_call
from wopr.calls.registry import TaskDefinition, retry_budget
from wopr.domain.checks import RIGHT_CALL, check_label
from wopr.domain.clock import Clock
from wopr.domain.errors import InvalidCallError, QueryError
from wopr.domain.jsontext import safe_text, shown, type_name, weigh
from wopr.domain.newtask import NewTask, OnConflict, OnParentFailure
from wopr.domain.retry import RetryPolicy
from wopr.domain.status import TaskPriority
from wopr.executors.choice import Executors

LONGEST_SECONDS = 3.2e9
"""A hundred years."""
MOST_PARTS = 10_000_000
MOST_LEVELS = 32
"""How big and how deep a parameter of a query may be."""
OPTIONS = frozenset(
    {"category", "priority", "max_retries", "retry", "timeout", "soft_timeout", "delay", "run_at"}
    | {"unique_key", "on_conflict", "tags", "depends_on", "on_parent_failure"}
)


def check_priority(value: object) -> int:
    """Return a priority as its number."""
    if not isinstance(value, TaskPriority):
        raise InvalidCallError(
            f"priority must be a TaskPriority (LOW, NORMAL, HIGH or CRITICAL), not "
            f"{type_name(value)} {shown(value)}. {RIGHT_CALL}"
        )
    return int(value)


def check_count(value: object, what: str, *, least: int = 0, most: int = 2**31 - 2) -> int:
    """Return a whole number within its limits."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = int.__int__(value)
        if least <= number <= most:
            return number
    hint = f" {RIGHT_CALL}" if what == "max_retries" else ""
    raise InvalidCallError(
        f"{what} must be a whole number from {least} to {most}, not {shown(value)}.{hint}"
    )


def check_seconds(value: object, what: str, *, zero: str) -> float:
    """Return a duration in seconds, given as a number or a timedelta."""
    seconds = -1.0
    if isinstance(value, timedelta):
        seconds = timedelta.total_seconds(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        seconds = float(min(max(int.__int__(value), -1), 10**12))
    elif isinstance(value, float):
        seconds = float.__float__(value)
    if not 0.0 <= seconds <= LONGEST_SECONDS:  # NaN is neither
        raise InvalidCallError(
            f"{what} must be a number of seconds from 0 to {LONGEST_SECONDS:,.0f} or a timedelta, "
            f"not negative, not {shown(value)}."
        )
    if not seconds and zero == "refuse":
        raise InvalidCallError(f"{what} must be more than 0 seconds.")
    return seconds


def check_moment(value: object) -> datetime:
    """Return an aware moment as naive UTC."""
    if not isinstance(value, datetime):
        raise InvalidCallError(f"run_at must be a datetime, not {type_name(value)} {shown(value)}.")
    try:
        if value.utcoffset() is not None:
            return value.astimezone(UTC).replace(tzinfo=None)
    except Exception as error:
        raise InvalidCallError(
            f"run_at={shown(value)} is out of range or has a broken time zone: {safe_text(error)}"
        ) from error
    raise InvalidCallError(
        f"run_at={shown(value)} has no time zone, so it could mean any of 30 moments. Use e.g. "
        "datetime.now(UTC) + timedelta(hours=1), or datetime(…, tzinfo=ZoneInfo('Asia/Tokyo'))."
    )


def check_tags(value: object) -> tuple[str, ...]:
    """Return the tags of a call."""
    try:
        if isinstance(value, list | tuple | set | frozenset):
            return tuple(check_label(tag, "a tag") for tag in value)
    except InvalidCallError:
        raise
    except Exception as error:
        raise InvalidCallError(f"tags can't be read: {safe_text(error)}") from error
    raise InvalidCallError(f"tags must be a sequence of str, not {shown(value)}.")


def check_query(query: object, params: Sequence[object]) -> str:
    """Return the text of a query, if it and its parameters can be handed to a database.

    Raises:
        QueryError: They can't. A list that contains itself would take the process down.
    """
    if not isinstance(query, str):
        raise QueryError(f"A query is a text, not {type_name(query)} {shown(query)}.")
    text = str.__str__(query)
    try:
        text.encode()
        for value in params:
            weigh(value, MOST_PARTS, MOST_LEVELS)
    except UnicodeEncodeError as error:
        raise QueryError(f"The query is not valid Unicode: {shown(text)}") from error
    except Exception as error:
        raise QueryError(f"A parameter of the query can't be used: {safe_text(error)}") from error
    return text


def check_member(value: object, what: str, kind: type[enum.Enum]) -> None:
    """Refuse what is no member of an enum."""
    if not isinstance(value, kind):
        names = ", ".join(f"{kind.__name__}.{member.name}" for member in kind)
        raise InvalidCallError(f"{what} must be one of {names}, not {shown(value)}.")


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that don't exist."""
    unknown = sorted(options.keys() - OPTIONS)
    if unknown:
        raise InvalidCallError(
            f"There is no option {', '.join(map(repr, unknown))}; there are "
            f"{', '.join(sorted(OPTIONS))}."
        )


def due_at(
    clock: Clock, delay: float | timedelta | None, run_at: datetime | None
) -> datetime | None:
    """Return when a task becomes due, as naive UTC; ``None`` for at once."""
    if delay is not None and run_at is not None:
        raise InvalidCallError("Give delay= or run_at=, not both.")
    if run_at is not None:
        return check_moment(run_at)
    if delay is None:
        return None
    seconds = check_seconds(delay, "delay", zero="allow")
    return clock.now().replace(tzinfo=None) + timedelta(seconds=seconds) if seconds else None


def retries_of(definition: TaskDefinition, policy: RetryPolicy | None, given: int | None) -> int:
    """Return the retry budget: the call's own, the task's, or that of the call's policy."""
    if given is not None:
        return check_count(given, "max_retries")
    if policy is None or definition.max_retries is not None:
        return definition.retries
    return retry_budget(None, policy)


def new_task(
    definition: TaskDefinition,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    clock: Clock,
    options: Mapping[str, Any],
) -> NewTask:
    """Return the new task of a call.

    Raises:
        InvalidCallError: something about it is wrong; nothing was written.
    """
    if not options and not definition.carriers:  # the usual call, on the fast path
        try:
            encoded_args, encoded_kwargs = definition.codec.encode_call(args, kwargs)
        except InvalidCallError:
            if not has_results(args, kwargs):
                raise
        else:
            return NewTask(
                name=definition.name,
                category=definition.category,
                priority=definition.priority,
                max_retries=definition.retries,
                args=encoded_args,
                kwargs=encoded_kwargs,
            )
    check_options(options)
    return _with_options(definition, args, kwargs, clock, **options)


def _timeouts(definition: TaskDefinition, **given: float | timedelta | None) -> dict[str, float]:
    found = {
        what: check_seconds(value, what, zero="refuse")
        for what, value in given.items()
        if value is not None
    }
    if "soft_timeout" in found:  # not every executor can
        executor, function = definition.executor, definition.function
        Executors.check(executor, function, definition.is_async, found["soft_timeout"])
    return found


def _with_options(
    definition: TaskDefinition,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    clock: Clock,
    *,
    category: str | None = None,
    priority: TaskPriority | None = None,
    max_retries: int | None = None,
    retry: Any = None,
    timeout: float | timedelta | None = None,
    soft_timeout: float | timedelta | None = None,
    delay: float | timedelta | None = None,
    run_at: datetime | None = None,
    unique_key: str | None = None,
    on_conflict: OnConflict = OnConflict.SKIP,
    tags: Sequence[str] = (),
    depends_on: Any = None,
    on_parent_failure: OnParentFailure = OnParentFailure.CANCEL,
) -> NewTask:
    check_member(on_conflict, "on_conflict", OnConflict)
    check_member(on_parent_failure, "on_parent_failure", OnParentFailure)
    # Before the arguments: in add_task("name", 1, 2) these are wrong, not the function's own.
    chosen = definition.category if category is None else check_label(category, "category")
    urgency = definition.priority if priority is None else check_priority(priority)
    labels = check_tags(tags)
    policy = None if retry is None else RetryPolicy.of(retry)
    budget = retries_of(definition, policy, max_retries)
    more: dict[str, Any] = {}
    parents: tuple[str | int, ...] = ()
    if depends_on is not None or has_results(args, kwargs):
        args, kwargs, found = parents_of_call(definition.codec, args, kwargs, depends_on)
        parents, more = found.stored(on_parent_failure)
    encoded = definition.codec.encode_call(args, kwargs)
    for carrier in definition.carriers:
        more[carrier.key] = carrier.pack(definition.name, *encoded, more.get("results"))
    more |= _timeouts(definition, timeout=timeout, soft_timeout=soft_timeout)
    return NewTask(
        name=definition.name,
        category=chosen,
        priority=urgency,
        max_retries=budget,
        args=encoded[0],
        kwargs=encoded[1],
        run_at=due_at(clock, delay, run_at) if delay is not None or run_at is not None else None,
        unique_key=None if unique_key is None else check_label(unique_key, "unique_key"),
        on_conflict=on_conflict,
        options=encode_options(retry=policy, tags=labels, **more),
        depends_on=parents,
    )
