"""What the API takes where a call has many options, by the API's own names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NotRequired, Required, TypedDict

from wopr.domain.alertrule import AlertCondition
from wopr.domain.level import NotificationLevel
from wopr.domain.limits import OnFull
from wopr.domain.misfire import Misfire, Overlap
from wopr.domain.newtask import OnConflict, OnParentFailure
from wopr.domain.status import TaskPriority, TaskStatus

Seconds = float | timedelta
When = datetime | Seconds
"""A time with its zone, or so many seconds ago (for ``delay``, ``expires``: from now)."""
Priority = TaskPriority | Literal[1, 2, 3, 4, "low", "normal", "high", "critical"]
Status = TaskStatus | Literal["pending", "started", "success", "failed", "cancelled", "retry"]
Verb = Literal["cancel", "retry", "run-again", "set-priority", "move", "delay"]


class CallOptions(TypedDict, total=False):
    """What a call sets differently from its task."""

    category: str
    priority: Priority
    max_retries: int
    retry: Mapping[str, Any]
    """A retry policy as it is stored: that of ``RetryPolicy.to_json()``, read."""
    timeout: Seconds
    soft_timeout: Seconds
    delay: Seconds
    run_at: datetime
    expires: When
    at_front: bool
    unique_key: str
    on_conflict: OnConflict | Literal["skip", "raise", "replace"]
    tags: Sequence[str]
    depends_on: Sequence[str] | Mapping[str, str]
    on_parent_failure: OnParentFailure | Literal["cancel", "fail", "run", "only"]
    retain: Seconds


class Arguments(TypedDict, total=False):
    """The arguments of one of many calls."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]


class Step(TypedDict):
    """A task of a flow, and what comes before it."""

    key: str
    name: str
    args: NotRequired[Sequence[Any]]
    kwargs: NotRequired[Mapping[str, Any]]
    results: NotRequired[Mapping[str, str | Sequence[str]]]
    """Arguments that are results of other steps: names of parameters, and keys."""
    after: NotRequired[Sequence[str]]
    options: NotRequired[CallOptions]


class Selection(TypedDict, total=False):
    """Which tasks: all that is given has to hold; of several values one is enough."""

    name: str | Sequence[str] | None
    category: str | Sequence[str] | None
    status: Status | Sequence[Status] | None
    since: When | None
    until: When | None
    flow: str | None
    schedule: str | None
    tag: str | None
    error: str | None
    where: str | None
    """A condition in SQL; needs the role admin."""
    ids: str | Sequence[str] | None


class EventFilter(TypedDict, total=False):
    """Which events."""

    name: str | Sequence[str] | None
    category: str | Sequence[str] | None
    status: Status | Sequence[Status] | None
    task: str | None
    """An id."""


class LimitChange(TypedDict, total=False):
    """What to set of a limit; what is left out stays as it is, and ``None`` takes it away."""

    task: str | None
    key: str | None
    concurrency: int | None
    rate: str | None
    fair_by: str | None
    aging: Seconds | None
    backlog: int | None
    on_full: OnFull | Literal["wait", "refuse", "drop_oldest"]


class Moments(TypedDict, total=False):
    """When a schedule fires: exactly one of these, and the time zone."""

    every: Seconds | Mapping[str, float]
    at: str
    cron: str
    run_at: datetime
    monthly: Mapping[str, Any]
    any_of: Sequence[Mapping[str, Any]]
    all_of: Sequence[Mapping[str, Any]]
    tz: str


class Plan(Moments, total=False):
    """What a schedule is told."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    category: str
    priority: Priority
    max_retries: int
    timeout: Seconds
    tags: Sequence[str]
    misfire: Misfire | Literal["skip", "run_once", "run_all"]
    misfire_grace: Seconds
    misfire_limit: int
    overlap: Overlap | Literal["allow", "skip", "queue_one", "cancel_running"]
    max_running: int
    jitter: Seconds
    start_at: datetime
    end_at: datetime
    run_on_start: bool
    depends_on: Sequence[str]
    run_as: str


class AlertOptions(TypedDict, total=False):
    """What an alert is about."""

    when: Required[
        AlertCondition
        | Literal[
            "failure",
            "final_failure",
            "recovery",
            "slow",
            "backlog_age",
            "backlog_size",
            "schedule_missed",
        ]
    ]
    task: str
    category: str
    level: NotificationLevel | Literal["info", "warning", "error", "critical"]
    threshold: float
    every: Seconds
    emits: str
