"""What the API answers, as values. A test compares them with the API; times are aware, in UTC.

What a newer server tells besides is left out, so that it may be newer than its clients.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wopr.domain.act import Unchanged
from wopr.domain.alertrule import AlertCondition
from wopr.domain.controls import Pause
from wopr.domain.level import NotificationLevel
from wopr.domain.limits import Limit
from wopr.domain.status import TaskPriority, TaskStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A task of a list: without its arguments and its result."""

    id: str
    name: str
    category: str
    priority: TaskPriority
    status: TaskStatus
    attempt: int
    retry_count: int
    max_retries: int
    crashes: int
    created_at: datetime | None
    run_at: datetime | None
    """Before this it does not start."""
    started_at: datetime | None
    completed_at: datetime | None
    elapsed_seconds: float
    """The run time of the last finished attempt."""
    worker: str | None
    error: str | None
    """What its newest failure says; of a long one, the beginning."""
    error_type: str | None
    progress: float
    progress_message: str
    unique_key: str | None
    tags: tuple[str, ...]
    waiting: bool
    """Whether it waits for tasks that it depends on."""
    flow_id: str | None
    schedule: str | None
    scheduled_for: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDocument(TaskRow):
    """All that is known of a task. Secrets in its payloads are masked."""

    args: list[Any]
    kwargs: dict[str, Any]
    payload_bytes: int
    """How large the arguments are as JSON; larger ones than 256 KiB are left out here."""
    result: Any
    result_bytes: int
    progress_data: dict[str, Any]
    depends_on: tuple[str, ...]
    options: dict[str, Any]
    """What the call asked for beyond the task's own settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """Tasks, newest first."""

    tasks: list[TaskRow]
    next: str | None
    """The ``cursor`` of the next page; ``None``: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a task; while it has not ended, how far it is."""

    id: str
    name: str
    status: TaskStatus
    attempt: int
    error: str | None
    error_type: str | None
    result: Any
    """As it is stored; ``client.result(…)`` gives the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedLine:
    """A line that a task logged."""

    attempt: int
    number: int
    logged_at: datetime
    level: str
    logger: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function that can be enqueued by its name."""

    name: str
    category: str
    priority: TaskPriority
    max_retries: int
    timeout: float | None
    is_async: bool
    signature: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActDocument:
    """What somebody did."""

    number: int
    verb: str
    who: str
    origin: str
    began_at: datetime
    ended_at: datetime | None
    selection: dict[str, Any]
    detail: dict[str, Any]
    reason: str
    changed: int
    undoes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of an act."""

    act: ActDocument
    left: int
    """So many selected tasks stayed as they are."""
    unchanged: list[Unchanged]
    """The first of them, each with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How many selected tasks have a name and a status, and how many of them would be changed."""

    name: str
    status: TaskStatus
    count: int
    changes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WouldDo:
    """What an act would do: nothing was done."""

    selected: int
    changes: int
    counts: list[Counted]
    examples: list[TaskRow]
    unchanged: list[Unchanged]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActPage:
    """Acts, the newest first."""

    acts: list[ActDocument]
    next: int | None = None
    """The ``before`` of the next page; ``None``: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueuedFlow:
    """A flow that is on disk."""

    id: str
    ids: dict[str, str]
    """The ids of its tasks, by key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRow:
    """A flow of a list."""

    id: str
    total: int
    ended: int
    succeeded: int
    failed: int
    cancelled: int
    running: int
    waiting: int
    created_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowCounts:
    """How many tasks of a flow there are, and where they stand."""

    total: int
    ended: int
    succeeded: int
    failed: int
    cancelled: int
    running: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTask:
    """A task of a flow."""

    id: str
    key: str | None
    name: str
    status: TaskStatus
    attempt: int
    waiting: bool
    depends_on: tuple[str, ...]
    completed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowDocument:
    """A flow and its tasks, each after those that it depends on."""

    id: str
    progress: FlowCounts
    percent: float
    tasks: list[FlowTask]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Exact counts."""

    total: int
    by_status: dict[str, int]
    by_category: dict[str, int]
    running: int
    queued: int
    held: list[dict[str, Any]] = field(default_factory=list)
    """Which tasks wait because they can't run there, with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A category, as it stands."""

    name: str
    waiting: int
    due: int
    running: int
    oldest_age_seconds: float
    workers: int
    paused: Pause | None
    limits: list[Limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDocument:
    """A schedule and what it is doing."""

    name: str
    task: str
    category: str
    priority: TaskPriority
    max_retries: int
    args: list[Any]
    kwargs: dict[str, Any]
    trigger: dict[str, Any]
    description: str
    """When it fires, in words."""
    misfire: str
    misfire_grace: float
    misfire_limit: int
    overlap: str
    max_running: int | None
    jitter: float
    start_at: datetime | None
    end_at: datetime | None
    run_on_start: bool
    depends_on: tuple[str, ...]
    run_as: str | None
    tags: tuple[str, ...]
    origin: str
    paused_at: datetime | None
    paused_reason: str | None
    next_fire_at: datetime | None
    last_fire_at: datetime | None
    last_task_id: str | None
    missed: int
    missed_times: tuple[datetime, ...]
    skipped: int
    created_at: datetime | None
    updated_at: datetime | None
    live: tuple[str, ...]
    """Ids of its tasks that have not ended."""
    reason: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertDocument:
    """An alert: what somebody is told about."""

    name: str
    when: AlertCondition
    task: str | None
    category: str | None
    level: NotificationLevel
    threshold: float | None
    every: float
    emits: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The answer to a question in SQL."""

    columns: list[str]
    rows: list[list[Any]]
    moment: datetime
    """Of when it is: of a snapshot, some seconds old at most."""
    truncated: bool
    """Whether there were more rows than the limits allow."""
