"""The decorators of task-handler classes. They only annotate; registering does the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, Unpack, overload

from wopr.calls.options import HandlerOptions, ScheduleOptions
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.leftout import names_options
from wopr.handlers.marks import HANDLER, SCHEDULE, TASK, ScheduleMark, TaskMark, put

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])


class TaskHandler:
    """``@TaskHandler()`` on a class: its decorated methods are tasks.

    The options are those of all its tasks, unless a method says otherwise; a subclass has
    them too.

    Args:
        *targets: none; there is no ``@TaskHandler`` without parentheses.
        name: what its tasks' names begin with, instead of ``module.Class``; not inherited.
        **options: ``category`` (``"default"``), ``priority`` (NORMAL), ``max_retries`` (0),
            ``retry``, ``timeout`` and ``soft_timeout``; see
            :class:`wopr.calls.options.HandlerOptions`.

    Raises:
        InvalidCallError: a value can't be what it has to be, or there is no such option.
    """

    @names_options(HandlerOptions)
    def __init__(
        self, *targets: object, name: str | None = None, **options: Unpack[HandlerOptions]
    ) -> None:
        if targets:
            raise InvalidCallError(
                f"Write @TaskHandler() with parentheses above {shown(targets[0])}; its options "
                'are keywords: @TaskHandler(category="reports").'
            )
        self._mark = TaskMark(name, options)

    def __call__(self, handler_type: C) -> C:
        """Annotate the class and return it.

        Raises:
            InvalidCallError: it is no class.
        """
        if not isinstance(handler_type, type):
            raise InvalidCallError(
                f"@TaskHandler() goes on a class, not on {shown(handler_type)}. For a function "
                "there is @queue.task."
            )
        setattr(handler_type, HANDLER, self._mark)
        return handler_type


@overload
def task(method: F, /) -> F: ...
@overload
def task(*, name: str | None = None, **options: Unpack[HandlerOptions]) -> Callable[[F], F]: ...
@names_options(HandlerOptions)
def task(*methods: Any, name: str | None = None, **options: Unpack[HandlerOptions]) -> Any:
    """Make a method of a ``@TaskHandler()`` class a task. It stays an ordinary method.

    Works with and without parentheses. Without ``name`` the task is called
    ``module.Class.method``; the other options are those of ``queue.task``.

    Raises:
        InvalidCallError: a value can't be what it has to be, there is no such option, or it
            is no method of an instance.
    """
    mark = TaskMark(name, options)
    return _annotated(methods[0], mark) if methods else lambda method: _annotated(method, mark)


@names_options(ScheduleOptions)
def schedule(
    *methods: object, name: str | None = None, **options: Unpack[ScheduleOptions]
) -> Callable[[F], F]:
    """Declare a schedule of a method of a ``@TaskHandler()`` class.

    Goes above or below ``@task``; alone, the method is a task that only its schedule
    enqueues.

    Args:
        *methods: none; there is no ``@schedule`` without parentheses.
        name: of the schedule; that of the task unless given.
        **options: see :class:`wopr.calls.options.ScheduleOptions`.

    Raises:
        InvalidScheduleSpecificationError: not exactly one of ``every``, ``interval``, ``at``,
            ``crontab``, ``cron`` and ``run_at`` is given, or it can't be read.
        InvalidCallError: there is no such option, or it is no method of an instance.
    """
    mark = ScheduleMark(name, options)

    def annotate(method: F) -> F:
        put(method, SCHEDULE, mark)
        return method

    return annotate


def _annotated(method: Any, mark: TaskMark) -> Any:
    put(method, TASK, mark)
    return method
