"""What a task is: the snapshot people see and the record the engine works on."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from wopr.domain.notebook import html_pairs
from wopr.domain.status import TERMINAL, TaskPriority, TaskStatus

UNLIMITED_RETRIES = 2**31 - 1
"""``max_retries`` of a task whose policy's ``stop`` alone ends the retries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """A snapshot of one task. It never changes; ask again for a newer one.

    Times are aware datetimes in UTC; ``elapsed_seconds`` is the run time of the
    last finished attempt, measured on a clock that never goes back.
    """

    id: str
    name: str
    category: str
    priority: TaskPriority
    status: TaskStatus
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    elapsed_seconds: float = 0.0
    result: Any = None
    error: str | None = None
    error_type: str | None = None
    retry_count: int = 0
    max_retries: int = 0
    attempt: int = 0
    crashes: int = 0
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    progress: float = 0.0
    progress_message: str = ""
    progress_data: dict[str, Any] = field(default_factory=dict)
    """What the function reports beside the figure, as JSON values."""
    run_at: datetime | None = None
    unique_key: str | None = None
    worker: str | None = None
    timeout: float | None = None
    tags: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    waiting: bool = False
    """Whether it waits for tasks that it depends on."""
    flow_id: str | None = None
    schedule: str | None = None
    scheduled_for: datetime | None = None
    """The time for which the schedule planned it."""
    options: dict[str, Any] = field(default_factory=dict)
    """What the call asked for beyond the task's own settings, as JSON values."""

    def _repr_html_(self) -> str:
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return html_pairs(f"{self.name}: {self.status.value}", values)

    @property
    def is_running(self) -> bool:
        """Whether an attempt is under way."""
        return self.status is TaskStatus.STARTED

    @property
    def is_completed(self) -> bool:
        """Whether the task has ended: succeeded, failed for good or cancelled."""
        return self.status in TERMINAL


class TaskRecord:
    """The current state of one task inside the engine: one row of ``tasks``.

    Mutable and never handed out. Times are naive UTC, as in the file; payloads
    are JSON text. It changes only through :func:`wopr.domain.fold.apply`; ``stored``
    is the row as last handed to the storage, to go back to when a write fails.
    """

    __slots__ = (
        "args",
        "attempt",
        "category",
        "completed_at",
        "crashes",
        "created_at",
        "depends_on",
        "elapsed_seconds",
        "error",
        "error_type",
        "flow_id",
        "id",
        "kwargs",
        "max_retries",
        "name",
        "options",
        "priority",
        "progress",
        "progress_data",
        "progress_message",
        "result",
        "retry_count",
        "run_at",
        "schedule",
        "scheduled_for",
        "seq",
        "started_at",
        "status",
        "stored",
        "unique_key",
        "version",
        "waiting",
        "worker",
    )

    id: str
    status: TaskStatus
    attempt: int
    retry_count: int
    crashes: int
    run_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    elapsed_seconds: float | None
    worker: str | None
    result: str | None
    error: str | None
    error_type: str | None
    progress: float
    progress_message: str
    version: int
    waiting: bool
    progress_data: str | None
    seq: int
    name: str
    category: str
    priority: int
    max_retries: int
    args: str
    kwargs: str
    options: str | None
    unique_key: str | None
    created_at: datetime
    depends_on: str | None
    flow_id: str | None
    schedule: str | None
    scheduled_for: datetime | None
    stored: tuple[Any, ...]

    def __init__(
        self,
        id: str,
        name: str,
        category: str,
        priority: int,
        max_retries: int,
        args: str,
        kwargs: str,
        created_at: datetime,
        run_at: datetime | None = None,
        unique_key: str | None = None,
        options: str | None = None,
    ) -> None:
        self.id = id
        self.name = name
        self.category = category
        self.priority = priority
        self.max_retries = max_retries
        self.args = args
        self.kwargs = kwargs
        self.created_at = created_at
        self.run_at = run_at
        self.unique_key = unique_key
        self.options = options
        self.status = TaskStatus.PENDING
        self.attempt = 0
        self.retry_count = 0
        self.crashes = 0
        self.started_at = self.completed_at = self.elapsed_seconds = None
        self.worker = self.result = self.error = self.error_type = None
        self.progress = 0.0
        self.progress_message = ""
        self.progress_data = None
        self.version = 0
        self.waiting = False
        self.depends_on = self.flow_id = self.schedule = self.scheduled_for = None
        self.seq = 0
        self.stored = ()

    def __lt__(self, other: TaskRecord) -> bool:
        """Order two records of one task, where both wait in one heap until one is dropped."""
        return self.version < other.version

    def row(self) -> tuple[Any, ...]:
        """Return the values in the order of :data:`COLUMNS`."""
        return (
            self.id,
            self.status._value_,  # .value is a descriptor, five times slower
            self.attempt,
            self.retry_count,
            self.crashes,
            self.run_at,
            self.started_at,
            self.completed_at,
            self.elapsed_seconds,
            self.worker,
            self.result,
            self.error,
            self.error_type,
            self.progress,
            self.progress_message,
            self.version,
            self.waiting,
            self.progress_data,
            self.seq,
            self.name,
            self.category,
            self.priority,
            self.max_retries,
            self.args,
            self.kwargs,
            self.options,
            self.unique_key,
            self.created_at,
            self.depends_on,
            self.flow_id,
            self.schedule,
            self.scheduled_for,
        )

    def load(self, row: tuple[Any, ...]) -> TaskRecord:
        """Take over all values of a row in the order of :data:`COLUMNS`; return self."""
        (
            task_id,
            status,
            self.attempt,
            self.retry_count,
            self.crashes,
            self.run_at,
            self.started_at,
            self.completed_at,
            self.elapsed_seconds,
            self.worker,
            self.result,
            self.error,
            self.error_type,
            self.progress,
            self.progress_message,
            self.version,
            self.waiting,
            self.progress_data,
            self.seq,
            self.name,
            self.category,
            self.priority,
            self.max_retries,
            self.args,
            self.kwargs,
            self.options,
            self.unique_key,
            self.created_at,
            self.depends_on,
            flow_id,
            self.schedule,
            self.scheduled_for,
        ) = row
        self.id = str(task_id)
        self.flow_id = None if flow_id is None else str(flow_id)
        self.status = _STATUS[status]
        self.stored = row
        return self

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> TaskRecord:
        """Return the record of a row in the order of :data:`COLUMNS`."""
        return cls.__new__(cls).load(row)


_STATUS = {status.value: status for status in TaskStatus}

MUTABLE_COLUMNS = (
    "id",
    "status",
    "attempt",
    "retry_count",
    "crashes",
    "run_at",
    "started_at",
    "completed_at",
    "elapsed_seconds",
    "worker",
    "result",
    "error",
    "error_type",
    "progress",
    "progress_message",
    "version",
    "waiting",
    "progress_data",
)
"""The key and the columns that change after a task was added."""

COLUMNS = (
    *MUTABLE_COLUMNS,
    "seq",
    "name",
    "category",
    "priority",
    "max_retries",
    "args",
    "kwargs",
    "options",
    "unique_key",
    "created_at",
    "depends_on",
    "flow_id",
    "schedule",
    "scheduled_for",
)
"""All stored columns of a task, the changing ones first."""
