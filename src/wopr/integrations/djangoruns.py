"""How a task of Django's runs in a worker of wopr's."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from inspect import iscoroutinefunction
from traceback import format_exception
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.utils import timezone

from wopr.executors.context import current_task
from wopr.integrations.djangotasks import (
    BaseTaskBackend,
    Task,
    TaskContext,
    TaskResult,
    TaskResultStatus,
    error_of,
    new_result,
    set_fields,
    task_finished,
    task_started,
)


class Run:
    """One attempt at a task: tells Django's signals, and keeps its connections fresh."""

    def __init__(
        self,
        task: Task,
        sender: type[BaseTaskBackend],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        current = current_task()
        now = timezone.now()
        self._sender = sender
        self._result: TaskResult = new_result(task, task.backend, args, kwargs)
        set_fields(
            self._result,
            id=current.id,
            status=TaskResultStatus.RUNNING,
            started_at=now,
            last_attempted_at=now,
            worker_ids=[f"{socket.gethostname()}-{os.getpid()}"] * current.attempt,
        )
        self.args = (TaskContext(task_result=self._result), *args) if task.takes_context else args

    def begin(self) -> None:
        """Tell that it starts."""
        close_old_connections()
        task_started.send(self._sender, task_result=self._result)

    def succeed(self, value: object) -> None:
        """Tell that it has returned."""
        set_fields(self._result, status=TaskResultStatus.SUCCESSFUL, _return_value=value)
        self._end()

    def fail(self, error: Exception) -> None:
        """Tell that it has raised."""
        kind = type(error)
        text = "".join(format_exception(error))
        self._result.errors.append(error_of(f"{kind.__module__}.{kind.__qualname__}", text))
        set_fields(self._result, status=TaskResultStatus.FAILED)
        self._end()

    def _end(self) -> None:
        set_fields(self._result, finished_at=timezone.now())
        task_finished.send(self._sender, task_result=self._result)
        close_old_connections()


def runner_of(task: Task, sender: type[BaseTaskBackend]) -> Callable[..., Any]:
    """Return the function that workers call for a task.

    It has no annotations, so that arguments and result are plain JSON values, as in any
    backend of Django's.
    """

    def run(*args: Any, **kwargs: Any) -> Any:
        attempt = Run(task, sender, args, kwargs)
        attempt.begin()
        try:
            value = task.func(*attempt.args, **kwargs)
        except Exception as error:
            attempt.fail(error)
            raise
        attempt.succeed(value)
        return value

    async def run_async(*args: Any, **kwargs: Any) -> Any:
        attempt = Run(task, sender, args, kwargs)
        await sync_to_async(attempt.begin)()
        try:
            value = await task.func(*attempt.args, **kwargs)
        except Exception as error:
            await sync_to_async(attempt.fail)(error)
            raise
        await sync_to_async(attempt.succeed)(value)
        return value

    return run_async if iscoroutinefunction(task.func) else run
