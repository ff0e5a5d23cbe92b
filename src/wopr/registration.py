"""How functions become tasks: the part of :class:`wopr.TaskQueue` that needs no storage."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from wopr.domain.callables import is_async_callable
from wopr.domain.codec import PayloadLimits
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.retry import RetryPolicy
from wopr.domain.status import TaskPriority
from wopr.engine.calls import check_count, check_label, check_priority, check_seconds
from wopr.engine.registry import Registry
from wopr.task import AsyncTask, SyncTask, Task, TaskDecorator

if TYPE_CHECKING:
    from wopr.queue import TaskQueue

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class Registration:
    """Registers functions under their names."""

    def __init__(self, limits: PayloadLimits) -> None:
        self._registry = Registry(limits)

    @property
    def categories(self) -> list[str]:
        """The categories that tasks are registered in, in the order of their names."""
        return sorted({item.category for item in self._registry.definitions.values()})

    def _registered(self, name: str) -> None:
        """Be told of a new name."""

    def register_task(
        self,
        name: str,
        category: str = "default",
        *,
        priority: TaskPriority = TaskPriority.NORMAL,
        max_retries: int | None = None,
        retry: Any = None,
        timeout: float | timedelta | None = None,
    ) -> Callable[[F], F]:
        """Register a function under a name; returns it unchanged.

        Args:
            name: unique across all categories; stored with every task.
            category: where its tasks wait and which workers run them.
            priority: of its tasks, unless a call says otherwise.
            max_retries: retries after a failure, unless a call says otherwise; 0 if
                neither says, or as many as a policy's ``stop`` allows.
            retry: a :class:`RetryPolicy`, or tenacity ``wait_*``, ``stop_*`` and
                ``retry_if_*`` objects.
            timeout: seconds that one attempt may run.

        Raises:
            DuplicateTaskError: the name belongs to another function.
            InvalidCallError: a value can't be what it has to be.
        """
        check_label(name, "a task's name")  # @register_task without a name would end up here

        def register(function: F) -> F:
            self._register(function, name, category, priority, max_retries, retry, timeout)
            return function

        return register

    def _register(
        self,
        function: Callable[..., Any],
        name: str,
        category: str,
        priority: TaskPriority,
        max_retries: int | None,
        retry: Any,
        timeout: float | timedelta | None,
    ) -> None:
        self._registry.add(
            function,
            name=check_label(name, "a task's name"),
            category=check_label(category, "category"),
            priority=check_priority(priority),
            max_retries=None if max_retries is None else check_count(max_retries, "max_retries"),
            retry=RetryPolicy.of(retry),
            timeout=None if timeout is None else check_seconds(timeout, "timeout", zero="refuse"),
        )
        self._registered(name)

    @overload
    def task(  # type: ignore[overload-overlap]  # the first that fits wins: a coroutine function
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def task(
        self,
        *,
        name: str | None = None,
        category: str = "default",
        priority: TaskPriority = TaskPriority.NORMAL,
        max_retries: int | None = None,
        retry: Any = None,
        timeout: float | timedelta | None = None,
    ) -> TaskDecorator: ...
    def task(self, *functions: Any, **options: Any) -> Any:
        """Make a function a :class:`Task`: still callable, and with ``enqueue``.

        Works with and without parentheses. Without ``name`` it is the function's
        qualified name without its module. Other arguments as in :meth:`register_task`.
        """
        decorate = self._decorator(**options)
        return decorate(*functions) if functions else decorate

    def _decorator(
        self,
        *,
        name: str | None = None,
        category: str = "default",
        priority: TaskPriority = TaskPriority.NORMAL,
        max_retries: int | None = None,
        retry: Any = None,
        timeout: float | timedelta | None = None,
    ) -> Callable[[Callable[..., Any]], Task[..., Any]]:
        def decorate(function: Callable[..., Any]) -> Task[..., Any]:
            label = name
            if label is None:
                label = getattr(function, "__qualname__", "").rpartition("<locals>.")[2]
                if not label:
                    raise InvalidCallError(
                        f"{shown(function)} has no name of its own. Give the task one: "
                        "@queue.task(name=…)."
                    )
            self._register(function, label, category, priority, max_retries, retry, timeout)
            kind = AsyncTask if is_async_callable(function) else SyncTask
            return kind(cast("TaskQueue", self), label, function)

        return decorate
