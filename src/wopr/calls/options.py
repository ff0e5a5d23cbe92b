"""What a task, and a call of it, can be told; and how it is stored with the task as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, TypedDict

from wopr.calls.registry import Executor, RunOptions, TaskDefinition
from wopr.domain.errors import InvalidCallError
from wopr.domain.newtask import OnConflict, OnParentFailure
from wopr.domain.resultof import HasId
from wopr.domain.retry import RetryPolicy
from wopr.domain.snapshot import decode_options
from wopr.domain.status import TaskPriority
from wopr.domain.task import TaskRecord


class AttemptOptions(TypedDict, total=False):
    """How the attempts of a task go, wherever that is said: for a call, a task, a class."""

    priority: TaskPriority | None
    """Of its tasks; usually NORMAL."""
    max_retries: int | None
    """Retries after a failure; 0 if nobody says otherwise, or as many as a policy's ``stop``
    allows."""
    retry: Any
    """A :class:`wopr.RetryPolicy`, or tenacity ``wait_*``, ``stop_*``, ``retry_if_*`` objects."""
    timeout: float | timedelta | None
    """Seconds that one attempt may run. Then it is stopped for real: a coroutine is cancelled, a
    process killed, a thread left to itself; and its worker is free."""
    soft_timeout: float | timedelta | None
    """Seconds after which :class:`wopr.SoftTimeoutError` is raised inside the function, which may
    catch it to clean up or to return what it has."""


class RegistrationOptions(AttemptOptions, total=False):
    """What ``queue.register_task`` can be told besides name and category."""

    executor: Executor
    """What runs the function: ``"thread"``, ``"process"``, or an executor of
    :mod:`concurrent.futures`. ``None`` leaves it to the category, and then to the event loop for
    coroutine functions and a thread for others."""


class TaskOptions(RegistrationOptions, total=False):
    """What ``queue.task`` can be told besides a name."""

    category: str
    """Where its tasks wait and which workers run them; ``"default"`` unless given."""


class HandlerOptions(AttemptOptions, total=False):
    """What ``@TaskHandler`` and ``@task`` of a handler class can be told besides a name."""

    category: str | None
    """Where its tasks wait and which workers run them; ``"default"`` unless given."""


class Options(AttemptOptions, total=False):
    """What one call may set differently from its task."""

    category: str | None
    """``None`` means the one that the task was registered with."""
    delay: float | timedelta | None
    """Seconds before it may start."""
    run_at: datetime | None
    """An aware moment before which it does not start; not with ``delay``."""
    unique_key: str | None
    """At most one live task has it."""
    on_conflict: OnConflict | None
    """What an enqueue does when another one has it; default SKIP."""
    tags: Sequence[str]
    depends_on: Sequence[str | HasId] | Mapping[str, str | HasId] | None
    """Handles or ids of the tasks that have to end first, or a dict of names to them."""
    on_parent_failure: OnParentFailure
    """What becomes of it when one of them does not succeed; default CANCEL."""


CALL_OPTIONS = frozenset(Options.__annotations__)
TASK_OPTIONS = frozenset(TaskOptions.__annotations__)


def check_options(options: Mapping[str, Any], known: frozenset[str]) -> None:
    """Refuse options that don't exist.

    Raises:
        InvalidCallError: the message names them, and those that do.
    """
    unknown = sorted(options.keys() - known)
    if unknown:
        raise InvalidCallError(
            f"There is no option {', '.join(map(repr, unknown))}; there are "
            f"{', '.join(sorted(known))}."
        )


def encode_options(
    *, retry: RetryPolicy | None = None, tags: tuple[str, ...] = (), **more: Any
) -> str | None:
    """Return what a call asked for beyond the task's own settings; ``None`` if nothing."""
    options = {key: value for key, value in more.items() if value is not None}
    if retry is not None:
        options["retry"] = json.loads(retry.to_json())
    if tags:
        options["tags"] = list(tags)
    return json.dumps(options) if options else None


@lru_cache(maxsize=256)
def _policy(text: str) -> RetryPolicy:
    return RetryPolicy.from_json(text)


def options_of(record: TaskRecord, definition: TaskDefinition) -> RunOptions:
    """Return how a task is to be run."""
    own = definition.run_options
    if record.options is None:
        return own
    options = decode_options(record.options)
    retry = options.get("retry")
    return RunOptions(
        own.retry if retry is None else _policy(json.dumps(retry)),
        options.get("timeout", own.timeout),
        options.get("soft_timeout", own.soft_timeout),
    )
