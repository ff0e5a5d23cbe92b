"""What a task, a call and a schedule of it can be told; and how it is stored as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, TypedDict, cast

from wopr.calls.present import present
from wopr.calls.registry import RunOptions, TaskDefinition
from wopr.calls.signature import Signature
from wopr.domain.errors import InvalidCallError
from wopr.domain.misfire import Misfire, Overlap
from wopr.domain.newtask import OnConflict, OnParentFailure
from wopr.domain.resultof import HasId
from wopr.domain.retry import RetryPolicy
from wopr.domain.scheduleoptions import WhenOptions
from wopr.domain.snapshot import decode_options
from wopr.domain.status import TaskPriority
from wopr.domain.task import TaskRecord
from wopr.executors.choice import ExecutorChoice


class AttemptOptions(TypedDict, total=False):
    """How attempts go, wherever that is said: for a task, a class, a call, a schedule."""

    max_retries: int | None
    """Retries after a failure; 0 if nobody says otherwise, or as many as a policy's ``stop``
    allows."""
    retry: Any
    """A :class:`wopr.RetryPolicy`, or tenacity ``wait_*``, ``stop_*``, ``retry_if_*`` objects."""
    timeout: float | timedelta | None
    """Seconds that one attempt may run. Then it is stopped for real: a coroutine is cancelled, a
    process killed, a thread left to itself; and its worker is free."""


class KeepOptions(TypedDict, total=False):
    """How long a task is kept after its end."""

    retain: float | timedelta | None
    """Seconds after its end, however it ended; then it is deleted with its result and its
    history. ``None`` leaves it to cleanups."""


class FunctionOptions(AttemptOptions, KeepOptions, total=False):
    """The same, and a timeout that the function itself notices."""

    soft_timeout: float | timedelta | None
    """Seconds after which :class:`wopr.SoftTimeoutError` is raised inside the function, which may
    catch it to clean up or to return what it has."""


class LimitOptions(TypedDict, total=False):
    """How many calls of a task run and start; stored when workers start, and changeable then."""

    limit: int | None
    """So many run at most at the same time."""
    rate: str | tuple[int, float | timedelta] | None
    """So many start at most in any span of a period: ``"100/minute"``, ``"5/2s"``,
    ``(100, 60.0)``."""
    key: str | None
    """An expression (JMESPath) over the arguments: each value of it has its own limits."""


class PlaceOptions(TypedDict, total=False):
    """Where tasks wait and how urgently, for those who may leave it to the function."""

    category: str | None
    """``None`` means the one that the task is registered with, or ``"default"``."""
    priority: TaskPriority | None
    """``None`` means the one that the task is registered with, or NORMAL."""


class RegistrationOptions(FunctionOptions, LimitOptions, total=False):
    """What ``queue.register_task`` can be told besides name and category."""

    priority: TaskPriority
    """Of its tasks, unless a call says otherwise; NORMAL unless given."""
    executor: ExecutorChoice
    """What runs the function: ``"thread"``, ``"process"``, or an executor of
    :mod:`concurrent.futures`. ``None`` leaves it to the category, and then to the event loop for
    coroutine functions and a thread for others."""


class TaskOptions(RegistrationOptions, total=False):
    """What ``queue.task`` can be told besides a name."""

    category: str
    """Where its tasks wait and which workers run them; ``"default"`` unless given."""


class HandlerOptions(FunctionOptions, PlaceOptions, LimitOptions, total=False):
    """What ``@TaskHandler`` and ``@task`` of a handler class can be told besides a name."""


class Options(FunctionOptions, PlaceOptions, total=False):
    """What one call may set differently from its task."""

    delay: float | timedelta | None
    """Seconds before it may start."""
    run_at: datetime | None
    """An aware moment before which it does not start; not with ``delay``."""
    expires: float | timedelta | datetime | None
    """Seconds from now, or an aware moment, after which it is not started any more: it ends
    CANCELLED instead. Retries count as starts."""
    at_front: bool
    """Whether it starts before all others of its category and priority that wait then."""
    unique_key: str | None
    """At most one live task has it."""
    on_conflict: OnConflict | None
    """What an enqueue does when another one has it; default SKIP."""
    tags: Sequence[str]
    depends_on: Sequence[str | HasId] | Mapping[str, str | HasId] | None
    """Handles or ids of the tasks that have to end first, or a dict of names to them."""
    on_parent_failure: OnParentFailure
    """What becomes of it when one of them does not succeed; default CANCEL."""
    on_success: Signature[Any] | Sequence[Signature[Any]] | None
    """Calls like ``task.s(…)`` that run once it has succeeded; each gets its result first, unless
    it was made with ``task.si``."""
    on_failure: Signature[Any] | Sequence[Signature[Any]] | None
    """Calls that run once it has failed for good."""
    connection: Any
    """On PostgreSQL: a connection, or session, of the application with an open transaction. The
    task is there if, and only if, that is committed."""


class PlanOptions(TypedDict, total=False):
    """How a schedule follows its plan."""

    misfire: Misfire | None
    """What to do about occurrences later than ``misfire_grace``; default RUN_ONCE."""
    misfire_grace: float | timedelta | None
    """Seconds; default 60."""
    misfire_limit: int | None
    """Most occurrences that one look at the clock fires; default 100."""
    overlap: Overlap | None
    """What to do while as many runs go on as may; default SKIP, with RUN_ALL it is ALLOW."""
    max_running: int | None
    """Most runs at once; default 1, and any number with ALLOW."""
    jitter: float | timedelta | None
    """Seconds; each task is due up to so much later, at random. The plan stays."""
    start_at: datetime | None
    end_at: datetime | None
    run_on_start: bool | None
    """Whether it also fires each time the scheduler starts."""
    run_as: str | None
    """The service identity that protected tasks run under."""


class ScheduleOptions(WhenOptions, PlanOptions, AttemptOptions, PlaceOptions, total=False):
    """What a schedule can be told; exactly one of ``every`` to ``run_at`` says when it fires."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any] | None
    depends_on: Sequence[str]
    """Schedules that have to succeed once before; their newest results are ``dep_<name>``."""
    tags: Sequence[str]


CALL_OPTIONS = frozenset(Options.__annotations__)
TASK_OPTIONS = frozenset(TaskOptions.__annotations__)
HANDLER_OPTIONS = frozenset(HandlerOptions.__annotations__)
SCHEDULE_OPTIONS = frozenset(ScheduleOptions.__annotations__)


def check_options(
    options: Mapping[str, Any], known: frozenset[str], said: str = "There is no option"
) -> None:
    """Refuse options that don't exist.

    Raises:
        InvalidCallError: the message names them, and those that do.
    """
    unknown = sorted(options.keys() - known)
    if unknown:
        hint = ""
        if known is SCHEDULE_OPTIONS and {"delay", "unique_key"} & set(unknown):
            hint = " What is due while an earlier run goes on is decided by overlap=."
        raise InvalidCallError(
            f"{said} {', '.join(map(repr, unknown))}; there are {', '.join(sorted(known))}.{hint}"
        )


def split(options: Options) -> tuple[Any, Options]:
    """Return the connection of the application that a call is to go through, and other options."""
    if options.get("connection") is None:
        return None, options
    rest = cast("Options", {key: one for key, one in options.items() if key != "connection"})
    return present(options["connection"]), rest


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
