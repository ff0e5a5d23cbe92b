"""Django's tasks on a wopr queue: a backend for the setting ``TASKS``.

For Django 6, and for ``django-tasks`` on Django 5::

    TASKS = {
        "default": {
            "BACKEND": "wopr.integrations.django.WoprBackend",
            "OPTIONS": {"queue": "shop.queue:queue"},
        }
    }
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from wopr.calls.options import RegistrationOptions
from wopr.domain.errors import InvalidCallError
from wopr.integrations.djangoruns import runner_of
from wopr.integrations.djangotasks import (
    BaseTaskBackend,
    Task,
    TaskResult,
    TaskResultDoesNotExist,
    new_result,
    priority_of,
    result_of,
    set_fields,
    task_enqueued,
)
from wopr.integrations.serving import bridge_of
from wopr.queue.queue import TaskQueue
from wopr.queue.sync import SyncQueue

OPTIONS = ("queue", *(name for name in RegistrationOptions.__annotations__ if name != "priority"))
"""All that a backend can be told; each of Django's tasks has a priority of its own."""


class WoprBackend(BaseTaskBackend):  # type: ignore[misc]  # Django has no types
    """Enqueues Django's tasks on a :class:`wopr.TaskQueue`.

    ``OPTIONS``: ``queue`` is ``"module:attribute"``; all others (``max_retries``, ``retry``,
    ``timeout``, ``soft_timeout``, ``executor``) are those of
    :meth:`wopr.TaskQueue.register_task`, for all tasks of this backend.

    A task's ``queue_name`` is its category. Its priority is LOW below 0, NORMAL at 0, HIGH to
    50, CRITICAL above. It is registered, under its module path, when its module is imported.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    @cached_property
    def queue(self) -> TaskQueue:
        """The queue of the options.

        Raises:
            ImproperlyConfigured: there is none, or there is an option that is not known.
        """
        where = f'TASKS["{self.alias}"]["OPTIONS"]'
        for key in self.options:
            if key not in OPTIONS:
                raise ImproperlyConfigured(
                    f"{where} has {key!r}, which is no option. There are: {', '.join(OPTIONS)}."
                )
        target = self.options.get("queue")
        module, _, name = str(target).partition(":")
        try:
            found = (
                getattr(importlib.import_module(module), name, None) if module and name else None
            )
        except ImportError as error:
            raise ImproperlyConfigured(
                f'{where}["queue"] is {target!r}, but {module} can\'t be imported: {error}. Name a '
                'module that can, as "module:attribute", for example "shop.queue:queue".'
            ) from error
        if not isinstance(found, TaskQueue):
            raise ImproperlyConfigured(
                f'{where}["queue"] is {target!r}, which is no TaskQueue but {found!r}. Name '
                'one as "module:attribute", for example "shop.queue:queue". '
                "If tasks are defined in its module too, put the queue above them."
            )
        return found

    @property
    def sync(self) -> SyncQueue:
        """The way to call the queue's coroutine functions, the same for all threads."""
        return bridge_of(self.queue)

    def validate_task(self, task: Task) -> None:
        """Refuse what can't be a task; register what can."""
        super().validate_task(task)
        if task.module_path not in self.queue.task_functions:
            options = {key: value for key, value in self.options.items() if key != "queue"}
            register = self.queue.register_task(task.module_path, task.queue_name, **options)
            register(runner_of(task, type(self)))

    def enqueue(self, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskResult:
        """Enqueue a call; returns once it is on disk.

        Raises:
            InvalidCallError: the arguments don't fit the function.
            TypeError: an argument can't be stored as JSON.
        """
        self.validate_task(task)
        _check_call(task, args, kwargs)
        result = new_result(task, self.alias, args, kwargs)
        handle = self.sync(
            self.queue.enqueue,
            task.module_path,
            result.args,
            result.kwargs,
            category=task.queue_name,
            priority=priority_of(task.priority),
            run_at=_aware(task.run_after),
        )
        set_fields(result, id=handle.id, enqueued_at=timezone.now())
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> TaskResult:
        """Return what became of a call.

        Raises:
            TaskResultDoesNotExist: the queue does not know it, or it is no task of Django's.
        """
        try:
            info = self.sync(self.queue.get_task_info, result_id)
        except InvalidCallError as error:
            raise TaskResultDoesNotExist(result_id) from error
        if info is None:
            raise TaskResultDoesNotExist(result_id)
        return result_of(info, self.sync(self.queue.get_history, result_id), self.alias)

    def check(self, **kwargs: Any) -> Iterable[checks.CheckMessage]:
        """Report a wrong setting when Django starts."""
        try:
            _ = self.queue
        except ImproperlyConfigured as error:
            return [checks.Error(str(error), id="wopr.E001")]
        return []


def _check_call(task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    given = (None, *args) if task.takes_context else args
    try:
        inspect.signature(task.func).bind(*given, **kwargs)
    except TypeError as error:
        raise InvalidCallError(f"{task.module_path} can't be called so: {error}.") from None


def _aware(moment: datetime | None) -> datetime | None:
    if moment is None or timezone.is_aware(moment):
        return moment
    aware: datetime = timezone.make_aware(moment)
    return aware
