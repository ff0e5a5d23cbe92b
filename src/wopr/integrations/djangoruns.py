"""How a task of Django's runs in a worker of wopr's, in this process or in another one."""

from __future__ import annotations

import importlib
import os
from inspect import iscoroutinefunction
from typing import Any

import django
from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import ENVIRONMENT_VARIABLE, settings
from django.db import close_old_connections
from django.utils import timezone

from wopr.domain.errors import InvalidCallError, WoprError
from wopr.executors.context import CurrentTask, current_task
from wopr.integrations.djangotasks import (
    Declared,
    Task,
    TaskContext,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    alias_of,
    known,
    new_result,
    parts_of,
    running,
    set_fields,
    task_backends,
)


def runner_of(task: Task) -> Any:
    """Return the function that workers call for a task: it finds the task by its name.

    Other processes find it by module and name, as any function. It has no annotations, so that
    arguments and result are plain JSON values, as in any backend of Django's.
    """
    return run_async if iscoroutinefunction(task.func) else run


def run(*args: Any, **kwargs: Any) -> Any:
    """Call the function of the current task, with fresh connections to databases."""
    current = current_task()
    task = _task_of(current.name)
    close_old_connections()
    try:
        if task.takes_context:
            args = (TaskContext(task_result=_row_of(task, current, args, kwargs)), *args)
        return task.func(*args, **kwargs)
    finally:
        close_old_connections()


async def run_async(*args: Any, **kwargs: Any) -> Any:
    """Await the coroutine function of the current task, as :func:`run` calls others."""
    current = current_task()
    task = _task_of(current.name)
    await sync_to_async(close_old_connections)()
    try:
        if task.takes_context:
            row = await sync_to_async(_row_of)(task, current, args, kwargs)
            args = (TaskContext(task_result=row), *args)
        return await task.func(*args, **kwargs)
    finally:
        await sync_to_async(close_old_connections)()


def _task_of(name: str) -> Task:
    """Return a task, by name; a process that only runs functions imports its module first.

    Raises:
        InvalidCallError: it is not there.
    """
    if name not in known:
        if not apps.ready and (settings.configured or ENVIRONMENT_VARIABLE in os.environ):
            django.setup()
        path = parts_of(name)[0]
        module, _, attribute = path.rpartition(".")
        # A worker process calls the main module of the program by another name, but finds it.
        found = getattr(importlib.import_module(module), attribute, None)
        if name not in known:
            if not isinstance(found, Task):
                raise InvalidCallError(
                    f"{path} is no task of Django's in this process. Is the same code installed "
                    "here, and is it defined at the top level of its module, with @task?"
                )
            known[name] = Declared(found, alias_of(name, found.backend))
    return known[name].task


def _row_of(
    task: Task, current: CurrentTask, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> TaskResult:
    """Return what the row of the running task tells; or the little that is known without it.

    A worker process asks the owner, as a client.
    """
    told = running.get()
    if told is not None:
        return told
    alias = known[current.name].alias
    try:
        return task_backends[alias].get_result(current.id)
    except (TaskResultDoesNotExist, WoprError):  # there is no such file, or nobody answers
        now = timezone.now()
        result = new_result(task, alias, args, kwargs)
        worker_ids = ["unknown"] * current.attempt
        fields = {"started_at": now, "last_attempted_at": now, "worker_ids": worker_ids}
        set_fields(result, id=current.id, status=TaskResultStatus.RUNNING, **fields)
        return result
