"""Check a call before anything is written, and turn it into a new task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from wopr.domain.clock import Clock
from wopr.domain.errors import InvalidCallError
from wopr.domain.newtask import NewTask, OnConflict
from wopr.domain.retry import RetryPolicy
from wopr.domain.status import TaskPriority
from wopr.engine.options import encode_options
from wopr.engine.registry import TaskDefinition, retry_budget

LONGEST_NAME = 200
RIGHT_CALL = (
    'add_task("name", "category", TaskPriority.HIGH, 3, …) takes the category, the priority and '
    "max_retries before the function's own positional arguments; "
    'queue.enqueue("name", args=(…), kwargs={…}, priority=…) keeps them apart.'
)


def check_label(value: object, what: str, *, longest: int = LONGEST_NAME) -> str:
    """Return a name, a category or a key, if it can be one."""
    if not isinstance(value, str):
        raise InvalidCallError(
            f"{what} must be a str, not {type(value).__name__} {value!r:.80}. {RIGHT_CALL}"
        )
    if not value.strip() or len(value) > longest or "\x00" in value:
        raise InvalidCallError(
            f"{what} must have 1 to {longest} characters, without NUL; this one has {len(value)}: "
            f"{value!r:.80}"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidCallError(f"{what} is not valid Unicode: {value!r:.80}") from error
    return value


def check_priority(value: object) -> int:
    """Return a priority as its number."""
    if not isinstance(value, TaskPriority):
        raise InvalidCallError(
            f"priority must be a TaskPriority (LOW, NORMAL, HIGH or CRITICAL), not "
            f"{type(value).__name__} {value!r:.80}. {RIGHT_CALL}"
        )
    return int(value)


def check_count(value: object, what: str, *, least: int = 0, most: int = 2**31 - 2) -> int:
    """Return a whole number within its limits."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidCallError(
            f"{what} must be a whole number from {least} to {most}, not {value!r:.80}. {RIGHT_CALL}"
            if what == "max_retries"
            else f"{what} must be a whole number from {least} to {most}, not {value!r:.80}."
        )
    return value


def check_seconds(value: object, what: str, *, zero: str) -> float:
    """Return a duration in seconds, given as a number or a timedelta."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    good = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not good or not math.isfinite(seconds) or seconds < 0 or seconds > 3.2e9:  # type: ignore[arg-type,operator]
        raise InvalidCallError(
            f"{what} must be a number of seconds or a timedelta, not negative, not {value!r:.80}."
        )
    if not seconds and zero == "refuse":
        raise InvalidCallError(f"{what} must be more than 0 seconds.")
    return float(seconds)  # type: ignore[arg-type]


def check_moment(value: object) -> datetime:
    """Return an aware moment as naive UTC."""
    if not isinstance(value, datetime):
        raise InvalidCallError(
            f"run_at must be a datetime, not {type(value).__name__} {value!r:.80}."
        )
    if value.tzinfo is None:
        raise InvalidCallError(
            f"run_at={value!r} has no time zone, so it could mean any of 30 moments. Use e.g. "
            "datetime.now(UTC) + timedelta(hours=1), or datetime(…, tzinfo=ZoneInfo('Asia/Tokyo'))."
        )
    try:
        return value.astimezone(UTC).replace(tzinfo=None)
    except (OverflowError, ValueError) as error:
        raise InvalidCallError(f"run_at={value!r} is out of range: {error}") from error


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
    if not options:  # the usual call, on the fast path
        encoded_args, encoded_kwargs = definition.codec.encode_call(args, kwargs)
        return NewTask(
            name=definition.name,
            category=definition.category,
            priority=definition.priority,
            max_retries=definition.retries,
            args=encoded_args,
            kwargs=encoded_kwargs,
        )
    return _with_options(definition, args, kwargs, clock, **options)


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
    delay: float | timedelta | None = None,
    run_at: datetime | None = None,
    unique_key: str | None = None,
    on_conflict: OnConflict = OnConflict.SKIP,
    tags: Sequence[str] = (),
) -> NewTask:
    if not isinstance(on_conflict, OnConflict):
        raise InvalidCallError(f"on_conflict must be an OnConflict, not {on_conflict!r:.80}.")
    if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
        raise InvalidCallError(f"tags must be a sequence of str, not {tags!r:.80}.")
    policy = None if retry is None else RetryPolicy.of(retry)
    encoded_args, encoded_kwargs = definition.codec.encode_call(args, kwargs)
    options = None
    if timeout is not None or policy is not None or tags:
        options = encode_options(
            timeout=None if timeout is None else check_seconds(timeout, "timeout", zero="refuse"),
            retry=policy,
            tags=tuple(check_label(tag, "a tag") for tag in tags),
        )
    return NewTask(
        name=definition.name,
        category=definition.category if category is None else check_label(category, "category"),
        priority=definition.priority if priority is None else check_priority(priority),
        max_retries=retries_of(definition, policy, max_retries),
        args=encoded_args,
        kwargs=encoded_kwargs,
        run_at=due_at(clock, delay, run_at) if delay is not None or run_at is not None else None,
        unique_key=None if unique_key is None else check_label(unique_key, "unique_key"),
        on_conflict=on_conflict,
        options=options,
    )
