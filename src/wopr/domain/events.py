"""What happened to a task, told after it is on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from wopr.domain.status import Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """One transition of one task. Times are aware datetimes in UTC."""

    kind: ClassVar[str] = "task.*"

    task_id: str
    name: str
    category: str
    priority: int
    status: TaskStatus
    """After the transition."""
    attempt: int
    occurred_at: datetime
    created_at: datetime
    worker: str | None = None
    reason: str | None = None
    error: str | None = None
    error_type: str | None = None
    retry_count: int = 0
    max_retries: int = 0
    started_at: datetime | None = None
    run_at: datetime | None = None
    """When it is due, if it was put off."""


class TaskEnqueued(TaskEvent):
    """It was added."""

    __slots__ = ()
    kind = "task.enqueued"


class TaskStarted(TaskEvent):
    """A worker claimed it."""

    __slots__ = ()
    kind = "task.started"


class TaskSucceeded(TaskEvent):
    """Its function returned."""

    __slots__ = ()
    kind = "task.succeeded"


class TaskRetrying(TaskEvent):
    """An attempt failed, and there will be another one."""

    __slots__ = ()
    kind = "task.retrying"


class TaskSnoozed(TaskEvent):
    """Its function asked to go on later."""

    __slots__ = ()
    kind = "task.snoozed"


class TaskFailed(TaskEvent):
    """It failed for good."""

    __slots__ = ()
    kind = "task.failed"


class TaskCancelled(TaskEvent):
    """It was cancelled."""

    __slots__ = ()
    kind = "task.cancelled"


class TaskInterrupted(TaskEvent):
    """A shutdown stopped its attempt; it is back in its queue."""

    __slots__ = ()
    kind = "task.interrupted"


class TaskRecovered(TaskEvent):
    """Its owner died; it is back in its queue."""

    __slots__ = ()
    kind = "task.recovered"


class TaskRenewed(TaskEvent):
    """Somebody put it back in its queue after it had failed."""

    __slots__ = ()
    kind = "task.renewed"


class TaskReleased(TaskEvent):
    """What it depended on has ended."""

    __slots__ = ()
    kind = "task.released"


class TaskRestored(TaskEvent):
    """Its cancellation was taken back."""

    __slots__ = ()
    kind = "task.restored"


class TaskPrioritized(TaskEvent):
    """It waits with another priority."""

    __slots__ = ()
    kind = "task.prioritized"


class TaskTransferred(TaskEvent):
    """It waits in another category."""

    __slots__ = ()
    kind = "task.transferred"


class TaskDelayed(TaskEvent):
    """It is due at another time, which somebody has set."""

    __slots__ = ()
    kind = "task.delayed"


EventHandler = Callable[[Any], Any]
"""A function or coroutine function that takes a :class:`TaskEvent`."""
EVENTS: dict[Move, type[TaskEvent]] = {
    Move.ADD: TaskEnqueued,
    Move.CLAIM: TaskStarted,
    Move.SUCCEED: TaskSucceeded,
    Move.RETRY: TaskRetrying,
    Move.SNOOZE: TaskSnoozed,
    Move.FAIL: TaskFailed,
    Move.CANCEL: TaskCancelled,
    Move.INTERRUPT: TaskInterrupted,
    Move.RECOVER: TaskRecovered,
    Move.RENEW: TaskRenewed,
    Move.RELEASE: TaskReleased,
    Move.RESTORE: TaskRestored,
    Move.PRIORITIZE: TaskPrioritized,
    Move.TRANSFER: TaskTransferred,
    Move.DELAY: TaskDelayed,
}
KINDS: tuple[str, ...] = tuple(event.kind for event in EVENTS.values())


def event_of(record: TaskRecord, transition: Transition) -> TaskEvent:
    """Return the event of a transition that is on disk."""
    data = transition.data or {}
    return EVENTS[transition.move](
        task_id=record.id,
        name=record.name,
        category=record.category,
        priority=record.priority,
        status=transition.to_status,
        attempt=transition.attempt,
        occurred_at=transition.occurred_at.replace(tzinfo=UTC),
        created_at=record.created_at.replace(tzinfo=UTC),
        worker=transition.worker,
        reason=transition.reason,
        error=transition.error,
        error_type=data.get("error_type"),
        retry_count=data.get("retry_count", record.retry_count),
        max_retries=record.max_retries,
        started_at=_utc(record.started_at),
        run_at=_utc(data.get("run_at")),
    )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
