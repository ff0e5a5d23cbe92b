"""Check a call before anything is written, and turn it into a new task."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from wopr.calls.followups import has_follow_ups
from wopr.calls.options import CALL_OPTIONS, Options, check_options, encode_options
from wopr.calls.parents import has_results, parents_of_call
from wopr.calls.registry import TaskDefinition, retry_budget
from wopr.domain.checks import (
    check_count,
    check_label,
    check_member,
    check_moment,
    check_priority,
    check_retain,
    check_seconds,
    check_tags,
)
from wopr.domain.clock import Clock, naive_now
from wopr.domain.due import EXPIRES
from wopr.domain.errors import InvalidCallError
from wopr.domain.guarded import shown
from wopr.domain.newtask import NewTask, OnConflict, OnParentFailure
from wopr.domain.place import AT_FRONT
from wopr.domain.retaining import RETAIN
from wopr.domain.retry import RetryPolicy
from wopr.executors.choice import Executors


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
    return naive_now(clock) + timedelta(seconds=seconds) if seconds else None


def _expires(options: Options, clock: Clock, due: datetime | None) -> str | None:
    """Return until when it may start, as it is stored."""
    given = options.get("expires")
    if given is None:
        return None
    now = naive_now(clock)
    if isinstance(given, datetime):
        until = check_moment(given, "expires")
    else:
        until = now + timedelta(seconds=check_seconds(given, "expires", zero="refuse"))
    first = now if due is None else max(now, due)
    if until <= first:
        raise InvalidCallError(
            f"expires={shown(given)} is {until.isoformat(sep=' ')} UTC, and it can't start before "
            f"{first.isoformat(sep=' ')} UTC: it would never run. Give a later moment."
        )
    return until.isoformat()


def _when(
    definition: TaskDefinition, options: Options, clock: Clock, run_at: datetime | None
) -> dict[str, Any]:
    retain = options.get("retain")
    return {
        EXPIRES: _expires(options, clock, run_at),
        AT_FRONT: _at_front(options.get("at_front", False)),
        RETAIN: definition.retain if retain is None else check_retain(retain),
    }


def _at_front(given: object) -> bool | None:
    """Return whether it goes before others, as it is stored: not said of those that don't."""
    if not isinstance(given, bool):
        raise InvalidCallError(f"at_front must be True or False, not {shown(given)}.")
    return given or None


def _delay(options: Options) -> float | None:
    """Return the delay as it is stored, so that it is known to be a span and no fixed time."""
    delay = options.get("delay")
    return delay.total_seconds() if isinstance(delay, timedelta) else delay or None


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
    options: Options,
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
                options=definition.options,
            )
    check_options(options, CALL_OPTIONS)
    if options.get("connection") is not None:
        raise InvalidCallError(
            f"connection= is for the call that enqueues, and {definition.name!r} is a part of it: "
            "queue.enqueue(…, connection=…), queue.enqueue_flow(flow, connection=…). An outbox has "
            "a session of its own for that."
        )
    if has_follow_ups(options):
        raise InvalidCallError(
            f"on_success= and on_failure= are for a call that is enqueued by itself, and "
            f"{definition.name!r} is a step of a flow: what comes after it is a step too, with "
            "on_parent_failure=OnParentFailure.ONLY if it runs on a failure."
        )
    return _with_options(definition, args, kwargs, clock, options)


def _timeouts(definition: TaskDefinition, options: Options) -> dict[str, float]:
    given = {"timeout": options.get("timeout"), "soft_timeout": options.get("soft_timeout")}
    found = {
        what: check_seconds(value, what, zero="refuse")
        for what, value in given.items()
        if value is not None
    }
    if "soft_timeout" in found:  # not every executor can
        executor, function = definition.executor, definition.function
        Executors.check(executor, function, definition.is_async, found["soft_timeout"])
    return found


def _conflict(options: Options) -> OnConflict:
    given = options.get("on_conflict")
    return OnConflict.SKIP if given is None else check_member(given, "on_conflict", OnConflict)


def _place(definition: TaskDefinition, options: Options) -> tuple[str, int]:
    category, priority = options.get("category"), options.get("priority")
    return (
        definition.category if category is None else check_label(category, "category"),
        definition.priority if priority is None else check_priority(priority),
    )


def _with_options(
    definition: TaskDefinition,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    clock: Clock,
    options: Options,
) -> NewTask:
    on_conflict = _conflict(options)
    on_parent_failure = options.get("on_parent_failure", OnParentFailure.CANCEL)
    check_member(on_parent_failure, "on_parent_failure", OnParentFailure)
    # Before the arguments: in add_task("name", 1, 2) these are wrong, not the function's own.
    category, priority = _place(definition, options)
    labels = check_tags(options.get("tags", ()))
    policy = None if options.get("retry") is None else RetryPolicy.of(options.get("retry"))
    budget = retries_of(definition, policy, options.get("max_retries"))
    more: dict[str, Any] = {}
    parents: tuple[str | int, ...] = ()
    depends_on, unique_key = options.get("depends_on"), options.get("unique_key")
    if depends_on is not None or has_results(args, kwargs):
        args, kwargs, found = parents_of_call(definition.codec, args, kwargs, depends_on)
        parents, more = found.stored(on_parent_failure)
    encoded = definition.codec.encode_call(args, kwargs)
    for carrier in definition.carriers:
        more[carrier.key] = carrier.pack(definition.name, *encoded, more.get("results"))
    more |= _timeouts(definition, options)
    run_at = due_at(clock, options.get("delay"), options.get("run_at"))
    more |= _when(definition, options, clock, run_at)
    return NewTask(
        name=definition.name,
        category=category,
        priority=priority,
        max_retries=budget,
        args=encoded[0],
        kwargs=encoded[1],
        run_at=run_at,
        unique_key=None if unique_key is None else check_label(unique_key, "unique_key"),
        on_conflict=on_conflict,
        options=encode_options(retry=policy, tags=labels, delay=_delay(options), **more),
        depends_on=parents,
    )
