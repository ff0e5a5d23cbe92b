"""``@wopr.task`` and ``@wopr.schedule``: functions become tasks before there is a queue."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from wopr.auth.metadata import close_marks
from wopr.calls.options import TASK_OPTIONS, ScheduleOptions, TaskOptions, check_options
from wopr.core.declared import Declared
from wopr.core.task import AsyncTask, SyncTask, Task, TaskDecorator
from wopr.domain.callables import is_async_callable
from wopr.domain.checks import check_label
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.leftout import names_options
from wopr.handlers.include import declared_of
from wopr.handlers.marks import ScheduleMark, check_values

P = ParamSpec("P")
R = TypeVar("R")
AnyTask = TypeVar("AnyTask", bound=Task[..., Any])

_MAIN = {"__main__", "__mp_main__"}  # the latter is what a worker process calls it


@overload
def task(  # type: ignore[overload-overlap]  # the first that fits wins: a coroutine function
    function: Callable[P, Coroutine[Any, Any, R]], /
) -> AsyncTask[P, R]: ...
@overload
def task(function: Callable[P, R], /) -> SyncTask[P, R]: ...
@overload
def task(*, name: str | None = None, **options: Unpack[TaskOptions]) -> TaskDecorator: ...
@names_options(TaskOptions)
def task(*functions: Any, name: str | None = None, **options: Unpack[TaskOptions]) -> Any:
    """Make a function a :class:`Task` that no queue is named for: in a library, an application.

    It is put into a queue later, by ``queue.include``, ``queue.discover`` or
    ``TaskQueue(tasks=[…])``; before that it can be called, and not enqueued. Works with and
    without parentheses.

    Args:
        *functions: the function, when used without parentheses.
        name: ``None`` means its module and qualified name, ``shop.tasks.send``; in a program
            that is run, ``app.send`` of ``app.py``.
        **options: as of :meth:`wopr.TaskQueue.task`.

    Raises:
        InvalidCallError: a value can't be what it has to be, or there is no such option.
    """
    check_options(options, TASK_OPTIONS | {"name"})
    check_values(options)
    if name is not None:
        check_label(name, "name")

    def declare(function: Callable[..., Any]) -> Task[..., Any]:
        if isinstance(function, Task) or not callable(function):
            raise InvalidCallError(f"@wopr.task goes on a function, not on {shown(function)}.")
        declared = Declared(name or default_name(function), options)
        close_marks(function)
        kind = AsyncTask if is_async_callable(function) else SyncTask
        return kind(declared, declared.name, function)

    return declare(*functions) if functions else declare


@names_options(ScheduleOptions)
def schedule(
    *, name: str | None = None, **options: Unpack[ScheduleOptions]
) -> Callable[[AnyTask], AnyTask]:
    """Declare a schedule of a task above ``@wopr.task``, in every queue that it is put into.

    Args:
        name: of the schedule; ``None`` means the name of the task.
        **options: as of :meth:`wopr.TaskQueue.schedule`.

    Raises:
        InvalidScheduleSpecificationError: not exactly one of ``every``, ``interval``, ``at``,
            ``crontab``, ``cron`` and ``run_at`` is given, or it can't be read.
        InvalidCallError: there is no such option, or below it is no ``@wopr.task`` that is in no
            queue yet.
    """
    ScheduleMark(name, options)  # refuses what can't be read

    def declare(function: AnyTask) -> AnyTask:
        declared = declared_of(function) if isinstance(function, Task) else None
        if declared is None or declared.is_in_any():
            raise InvalidCallError(
                f"@wopr.schedule goes above @wopr.task, before the task is in a queue, not on "
                f"{shown(function)}. For a task of a queue there is @queue.schedule."
            )
        declared.schedules.append((name, options))
        return function

    return declare


def default_name(function: Callable[..., Any]) -> str:
    """Return a function's module and qualified name; the same for a program and its module.

    Raises:
        InvalidCallError: it has none.
    """
    label: str = getattr(function, "__qualname__", "").rpartition("<locals>.")[2]
    module = getattr(function, "__module__", None)
    if not label or not isinstance(module, str):
        raise InvalidCallError(
            f"{shown(function)} has no name of its own. Give the task one: @wopr.task(name=…)."
        )
    return f"{_importable(module) if module in _MAIN else module}.{label}"


def _importable(name: str) -> str:
    """Return the name by which others import the program that runs; its own if none is known."""
    main = sys.modules.get(name)
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:  # python -m shop.tasks
        return str(spec.name)
    return Path(file).stem if isinstance(file, str) else name
