"""The decorators of task-handler classes. They only annotate; registering does the rest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, Unpack, overload

from wopr.core.scheduleinfo import ScheduleOptions
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.status import TaskPriority
from wopr.handlers.marks import HANDLER, SCHEDULE, TASK, ScheduleMark, TaskMark, put

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])


class TaskHandler:
    """``@TaskHandler()`` on a class: its decorated methods are tasks.

    The options are those of all its tasks, unless a method says otherwise; a subclass has
    them too.

    Args:
        name: what its tasks' names begin with, instead of ``module.Class``; not inherited.
        category: where they wait, ``"default"`` unless given.
        priority: NORMAL unless given.
        max_retries: 0 unless given.
        retry: a :class:`wopr.RetryPolicy`, or tenacity objects.
        timeout: of one attempt, in seconds; none unless given.
        soft_timeout: seconds after which :class:`SoftTimeoutError` is raised in the method.

    Raises:
        InvalidCallError: a value can't be what it has to be.
    """

    def __init__(
        self,
        *targets: object,
        name: str | None = None,
        category: str | None = None,
        priority: TaskPriority | None = None,
        max_retries: int | None = None,
        retry: Any = None,
        timeout: float | timedelta | None = None,
        soft_timeout: float | timedelta | None = None,
    ) -> None:
        if targets:
            raise InvalidCallError(
                f"Write @TaskHandler() with parentheses above {shown(targets[0])}; its options "
                'are keywords: @TaskHandler(category="reports").'
            )
        self._mark = TaskMark(
            name=name,
            category=category,
            priority=priority,
            max_retries=max_retries,
            retry=retry,
            timeout=timeout,
            soft_timeout=soft_timeout,
        )

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
def task(
    *,
    name: str | None = None,
    category: str | None = None,
    priority: TaskPriority | None = None,
    max_retries: int | None = None,
    retry: Any = None,
    timeout: float | timedelta | None = None,
    soft_timeout: float | timedelta | None = None,
) -> Callable[[F], F]: ...
def task(*methods: Any, **options: Any) -> Any:
    """Make a method of a ``@TaskHandler()`` class a task. It stays an ordinary method.

    Works with and without parentheses. Without ``name`` the task is called
    ``module.Class.method``; the other options are those of ``queue.task``.

    Raises:
        InvalidCallError: a value can't be what it has to be, or it is no method of an
            instance.
    """
    if not methods:
        mark = TaskMark(**options)
        return lambda method: _annotated(method, mark)
    return _annotated(methods[0], TaskMark(**options))


def schedule(
    *methods: object, name: str | None = None, **options: Unpack[ScheduleOptions]
) -> Callable[[F], F]:
    """Declare a schedule of a method of a ``@TaskHandler()`` class.

    Goes above or below ``@task``; alone, the method is a task that only its schedule
    enqueues.

    Args:
        *methods: none; there is no ``@schedule`` without parentheses.
        name: of the schedule; that of the task unless given.
        **options: see :class:`wopr.core.scheduleinfo.ScheduleOptions`.

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
