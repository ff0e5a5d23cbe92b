"""Django's tasks as wopr knows them: what a call is, and what became of it.

All names of Django's tasks are imported here: from Django 6, or from the package they come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

from wopr.domain.checks import check_id
from wopr.domain.status import TaskPriority, TaskStatus
from wopr.domain.task import TaskInfo, TaskRecord
from wopr.ports.answers import HistoryEntry
from wopr.queue.queue import TaskQueue, inside

try:
    from django.tasks import task_backends
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import Task, TaskContext, TaskError, TaskResult, TaskResultStatus
    from django.tasks.exceptions import InvalidTask, InvalidTaskBackend, TaskResultDoesNotExist
    from django.tasks.signals import task_enqueued, task_finished, task_started
except ImportError:  # Django 5: the package that Django's tasks come from
    from django_tasks import task_backends
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import Task, TaskContext, TaskError, TaskResult, TaskResultStatus
    from django_tasks.exceptions import InvalidTaskBackendError as InvalidTaskBackend
    from django_tasks.exceptions import InvalidTaskError as InvalidTask
    from django_tasks.exceptions import TaskResultDoesNotExist
    from django_tasks.signals import task_enqueued, task_finished, task_started

__all__ = [
    "BaseTaskBackend",
    "CallCarrier",
    "Declared",
    "Task",
    "TaskContext",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultStatus",
    "alias_of",
    "aware",
    "known",
    "local",
    "look_up",
    "new_result",
    "parts_of",
    "priority_of",
    "result_of",
    "running",
    "set_fields",
    "task_backends",
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
_NUMBERS = {
    TaskPriority.LOW: -1,
    TaskPriority.NORMAL: 0,
    TaskPriority.HIGH: 1,
    TaskPriority.CRITICAL: 51,
}
"""The numbers nearest to 0 that :func:`priority_of` makes these of."""


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


class Declared(NamedTuple):
    """A task, and the backend whose options it is registered with under one of its names."""

    task: Task
    alias: str


known: dict[str, Declared] = {}
"""Django's tasks that this process has declared, by the names that their calls have."""

running: ContextVar[TaskResult | None] = ContextVar("wopr_django_running", default=None)
"""What the row of the task told when it started, for the function that runs in this context."""


def alias_of(name: str, otherwise: str) -> str:
    """Return the backend whose calls have a name."""
    if name in known:
        return known[name].alias
    return parts_of(name)[1] or otherwise


def parts_of(name: str) -> tuple[str, str | None]:
    """Return the module path and the backend that the name of a call tells.

    ``None`` is the backend that the task is declared with.
    """
    path, _, alias = name.partition("@")
    return path, alias or None


async def look_up(queue: TaskQueue, task_id: str, alias: str) -> TaskResult:
    """Return what a row, and its history where that tells more, say about a call.

    In the process that has the file it can be asked until the queue has ended: tasks that run on
    while it shuts down tell of themselves as well.

    Raises:
        TaskResultDoesNotExist: the queue does not know it, or it is no task of Django's.
        InvalidCallError: no id looks like this.
    """
    core, wanted = inside(queue), check_id(task_id)
    local = core.access.local
    record = await (local.get(wanted) if local else core.ask(lambda one: one.get(wanted), None))
    if record is None:
        raise TaskResultDoesNotExist(task_id)
    info = core.info_of(record)
    history: list[HistoryEntry] = []
    if info.attempt > 1 or info.status is TaskStatus.FAILED:  # else the row tells all
        history = await (
            local.history(wanted) if local else core.ask(lambda one: one.history(wanted), [])
        )
    return result_of(info, history, alias)


def result_of(info: TaskInfo, history: Sequence[HistoryEntry], alias: str) -> TaskResult:
    """Return what became of a task.

    Args:
        info: of the task.
        history: may be left out if nothing of its first attempt failed.
        alias: of the backend that is asked, should the name of the call tell none.

    Raises:
        TaskResultDoesNotExist: it is no task of Django's, or its module is gone.
    """
    path = parts_of(info.name)[0]
    try:
        task = import_string(path)
    except ImportError as error:
        raise TaskResultDoesNotExist(f"{info.id}: {path} can't be imported") from error
    if not isinstance(task, Task):
        raise TaskResultDoesNotExist(f"{info.id}: {info.name} is no task of Django's")
    called = _as_called(task, info, alias_of(info.name, alias))
    result = new_result(called, called.backend, info.args, info.kwargs)
    claims = [entry for entry in history if entry.to_status is TaskStatus.STARTED]
    workers = [entry.worker for entry in claims] if claims else [info.worker][: info.attempt]
    set_fields(
        result,
        id=info.id,
        status=_STATUS[info.status],
        enqueued_at=local(info.created_at),
        started_at=local(claims[0].occurred_at if claims else info.started_at),
        last_attempted_at=local(info.started_at),
        finished_at=local(info.completed_at),
        worker_ids=[worker or "" for worker in workers],
        errors=[
            _error_of(entry.error_type, entry.traceback) for entry in history if entry.error_type
        ],
    )
    if info.status is TaskStatus.CANCELLED:
        result.errors.append(_error_of("wopr.TaskCancelledError", None))
    if info.status is TaskStatus.SUCCESS:
        set_fields(result, _return_value=info.result)
    return result


def _as_called(task: Task, info: TaskInfo, alias: str) -> Task:
    """Return a task with the queue, the priority and the time that its call had."""
    call = info.options.get(CallCarrier.key, {})
    number = call.get("priority", task.priority)
    if priority_of(number) is not info.priority:
        number = _NUMBERS[info.priority]
    after = call.get("run_after")
    try:
        called: Task = task.using(
            queue_name=info.category,
            backend=alias,
            priority=number,
            run_after=None if after is None else local(datetime.fromisoformat(after)),
        )
    except (InvalidTask, InvalidTaskBackend):  # the settings have changed since
        return task
    return called


class CallCarrier:
    """Stores with a call what Django can say more exactly than wopr: its priority and its time."""

    key = "django"

    def __init__(self) -> None:
        self._call: ContextVar[dict[str, Any] | None] = ContextVar("wopr_django", default=None)

    def take(self, task: Task) -> None:
        """Store this with the calls that are enqueued in this context."""
        after = None if task.run_after is None else aware(task.run_after).astimezone(UTC)
        call = {
            "priority": task.priority or None,
            "run_after": None if after is None else after.isoformat(),
        }
        self._call.set({key: value for key, value in call.items() if value is not None} or None)

    def pack(self, name: str, args: str, kwargs: str, results: object = None) -> Any | None:
        """Return what to store with a call."""
        return self._call.get()

    async def unpack(self, record: TaskRecord, packed: Any | None) -> None:
        """Leave the attempt as it is."""


def aware(moment: datetime) -> datetime:
    """Return a moment with its zone, the one of the settings if it has none."""
    if timezone.is_aware(moment):
        return moment
    made: datetime = timezone.make_aware(moment)
    return made


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


def _error_of(kind: str | None, traceback: str | None) -> TaskError:
    """Return an error as Django describes it, by the name of its class."""
    path = kind if kind and "." in kind else f"builtins.{kind}"
    return TaskError(exception_class_path=path, traceback=traceback or "")


def local(moment: datetime | None) -> datetime | None:
    """Return a moment as Django's settings want it."""
    if moment is None or settings.USE_TZ:
        return moment
    naive: datetime = timezone.make_naive(moment)
    return naive
