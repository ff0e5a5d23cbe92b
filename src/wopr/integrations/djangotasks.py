"""Django's tasks as wopr knows them: what became of a call.

All names of Django's tasks are imported here: from Django 6, or from the package they come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

from wopr.domain.status import TaskPriority, TaskStatus
from wopr.domain.task import TaskInfo
from wopr.ports.answers import HistoryEntry

try:
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import Task, TaskContext, TaskError, TaskResult, TaskResultStatus
    from django.tasks.exceptions import TaskResultDoesNotExist
    from django.tasks.signals import task_enqueued, task_finished, task_started
except ImportError:  # Django 5: the package that Django's tasks come from
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import Task, TaskContext, TaskError, TaskResult, TaskResultStatus
    from django_tasks.exceptions import TaskResultDoesNotExist
    from django_tasks.signals import task_enqueued, task_finished, task_started

__all__ = [
    "BaseTaskBackend",
    "Task",
    "TaskContext",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultStatus",
    "error_of",
    "new_result",
    "priority_of",
    "result_of",
    "set_fields",
    "task_enqueued",
    "task_finished",
    "task_started",
]

_STATUS = {
    TaskStatus.PENDING: TaskResultStatus.READY,
    TaskStatus.RETRY: TaskResultStatus.READY,
    TaskStatus.STARTED: TaskResultStatus.RUNNING,
    TaskStatus.SUCCESS: TaskResultStatus.SUCCESSFUL,
    TaskStatus.FAILED: TaskResultStatus.FAILED,
    TaskStatus.CANCELLED: TaskResultStatus.FAILED,
}


def new_result(
    task: Task, alias: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> TaskResult:
    """Return the result of a call that has no id yet.

    Raises:
        TypeError: an argument can't be stored as JSON.
    """
    return TaskResult(
        task=task,
        id="",
        status=TaskResultStatus.READY,
        enqueued_at=None,
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=list(args),
        kwargs=dict(kwargs),
        backend=alias,
        errors=[],
        worker_ids=[],
    )


def result_of(info: TaskInfo, history: Sequence[HistoryEntry], alias: str) -> TaskResult:
    """Return what became of a task.

    Raises:
        TaskResultDoesNotExist: it is no task of Django's, or its module is gone.
    """
    try:
        task = import_string(info.name)
    except ImportError as error:
        raise TaskResultDoesNotExist(f"{info.id}: {info.name} can't be imported") from error
    if not isinstance(task, Task):
        raise TaskResultDoesNotExist(f"{info.id}: {info.name} is no task of Django's")
    claims = [entry for entry in history if entry.to_status is TaskStatus.STARTED]
    result = new_result(
        task.using(queue_name=info.category, backend=alias), alias, info.args, info.kwargs
    )
    set_fields(
        result,
        id=info.id,
        status=_STATUS[info.status],
        enqueued_at=_local(info.created_at),
        started_at=_local(claims[0].occurred_at if claims else info.started_at),
        last_attempted_at=_local(info.started_at),
        finished_at=_local(info.completed_at),
        worker_ids=[entry.worker or "" for entry in claims],
        errors=[
            error_of(entry.error_type, entry.traceback) for entry in history if entry.error_type
        ],
    )
    if info.status is TaskStatus.CANCELLED:
        result.errors.append(error_of("wopr.TaskCancelledError", None))
    if info.status is TaskStatus.SUCCESS:
        set_fields(result, _return_value=info.result)
    return result


def priority_of(number: int) -> TaskPriority:
    """Return the priority for one of Django's, from -100 to 100."""
    if number < 0:
        return TaskPriority.LOW
    if number == 0:
        return TaskPriority.NORMAL
    return TaskPriority.HIGH if number <= 50 else TaskPriority.CRITICAL


def set_fields(result: TaskResult, **values: object) -> None:
    """Set fields of a result that is frozen; Django's own backends do the same."""
    for name, value in values.items():
        object.__setattr__(result, name, value)


def error_of(kind: str | None, traceback: str | None) -> TaskError:
    """Return an error as Django describes it, by the name of its class."""
    path = kind if kind and "." in kind else f"builtins.{kind}"
    return TaskError(exception_class_path=path, traceback=traceback or "")


def _local(moment: datetime | None) -> datetime | None:
    """Return a moment as Django's settings want it."""
    if moment is None or settings.USE_TZ:
        return moment
    naive: datetime = timezone.make_naive(moment)
    return naive
