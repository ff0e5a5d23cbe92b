"""How functions become tasks: the part of :class:`wopr.TaskQueue` that needs no storage."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from wopr.auth.carrier import AuthCarrier
from wopr.auth.config import Auth
from wopr.auth.metadata import close_marks, requirements_of
from wopr.calls.registry import CategoryOptions, Executor, Registry
from wopr.calls.tasks import check_count, check_priority, check_seconds
from wopr.calls.variables import ContextVariables
from wopr.core.task import AsyncTask, SyncTask, Task, TaskDecorator
from wopr.domain.callables import is_async_callable
from wopr.domain.checks import check_label
from wopr.domain.codec import PayloadLimits
from wopr.domain.errors import DuplicateTaskError, InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.retry import RetryPolicy
from wopr.domain.status import TaskPriority
from wopr.executors.choice import Executors
from wopr.handlers.registered import RegisteredHandler

if TYPE_CHECKING:
    from wopr.queue.queue import TaskQueue

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
H = TypeVar("H")


class Registration:
    """Registers functions under their names."""

    def __init__(self, limits: PayloadLimits, auth: Auth | None = None) -> None:
        self.auth = auth
        self._registry = Registry(limits)
        self._variables = ContextVariables(limits)
        self._handlers: dict[type, RegisteredHandler[Any]] = {}
        self.provider: Callable[[type[Any]], Any] | None = None
        """Makes the instances of handlers without a factory, given the class; ``None``: nobody."""

    @property
    def handlers(self) -> dict[type, RegisteredHandler[Any]]:
        """A copy of the registered handlers, by class."""
        return dict(self._handlers)

    @property
    def categories(self) -> list[str]:
        """The categories that tasks are registered in, in the order of their names."""
        return sorted({item.category for item in self._registry.definitions.values()})

    def _registered(self, name: str) -> None:
        """Be told of a new name."""

    def register_handler(
        self, handler_type: type[H], factory: Callable[[], H] | None = None
    ) -> RegisteredHandler[H]:
        """Register the decorated methods of a ``@TaskHandler()`` class as tasks.

        Args:
            handler_type: the class; a method's task is called ``module.Class.method``.
            factory: makes its one instance in this queue, when a task first needs it and in
                that task's thread; a failure is that attempt's. ``None`` leaves it to
                :attr:`provider`, or without one to the class itself.

        Raises:
            DuplicateTaskError: the class is registered, or a name belongs to another function.
            InvalidCallError: the class can't be registered.
        """
        if handler_type in self._handlers:
            raise DuplicateTaskError(
                f"{handler_type.__qualname__} is registered with this queue already. Use what "
                f"register_handler() returned, or queue.handlers[{handler_type.__qualname__}]."
            )
        handler = RegisteredHandler(cast("TaskQueue", self), self._registry, handler_type, factory)
        self._handlers[handler_type] = handler
        return handler

    def propagate(self, variable: ContextVar[Any], name: str | None = None) -> None:
        """Carry a context variable from the code that enqueues to the run of the task.

        Its value at the time of the ``enqueue`` is stored with the task, as JSON, and set before
        the function is called; where it is not set, it is not set in the run either. A program
        that enqueues or runs tasks of the same file has to declare it too.

        Args:
            variable: holds builtin values, nested as you like.
            name: what the value is stored as; the variable's own name unless given.

        Raises:
            InvalidCallError: it is no context variable, or the name belongs to another one.
        """
        self._variables.declare(variable, name)
        self._registry.carry(self._variables)  # not before: without any, calls cost nothing more

    def register_task(
        self,
        name: str,
        category: str = "default",
        *,
        priority: TaskPriority = TaskPriority.NORMAL,
        max_retries: int | None = None,
        retry: Any = None,
        timeout: float | timedelta | None = None,
        soft_timeout: float | timedelta | None = None,
        executor: Executor = None,
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
            timeout: seconds that one attempt may run. Then it is stopped for real: a coroutine is
                cancelled, a process killed, a thread left to itself; and its worker is free.
            soft_timeout: seconds after which :class:`SoftTimeoutError` is raised inside the
                function, which may catch it to clean up or to return what it has.
            executor: what runs the function: ``"thread"``, ``"process"``, or an executor of
                :mod:`concurrent.futures`. ``None`` leaves it to the category, and then to the
                event loop for coroutine functions and a thread for others.

        Raises:
            DuplicateTaskError: the name belongs to another function.
            InvalidCallError: a value can't be what it has to be.
            ConflictingAuthMetadataError: the function is public and protected at once.
        """
        check_label(name, "a task's name")  # @register_task without a name would end up here

        def register(function: F) -> F:
            self._register(
                function,
                name,
                category=category,
                priority=priority,
                max_retries=max_retries,
                retry=retry,
                timeout=timeout,
                soft_timeout=soft_timeout,
                executor=executor,
            )
            return function

        return register

    def _register(
        self,
        function: Callable[..., Any],
        name: str,
        *,
        category: str,
        priority: TaskPriority,
        max_retries: int | None,
        retry: Any,
        timeout: float | timedelta | None,
        soft_timeout: float | timedelta | None,
        executor: Executor,
    ) -> None:
        metadata = requirements_of(function)
        hard = None if timeout is None else check_seconds(timeout, "timeout", zero="refuse")
        soft = soft_timeout
        if soft is not None:
            soft = check_seconds(soft, "soft_timeout", zero="refuse")
            if hard is not None and soft >= hard:
                raise InvalidCallError(
                    f"soft_timeout={soft:g} of task {name!r} would never come: its timeout of "
                    f"{hard:g} s ends it before."
                )
        label = check_label(category, "category")
        used = executor if executor is not None else self._registry.category(label).executor
        Executors.check(used, function, is_async_callable(function), soft)
        self._registry.add(
            function,
            name=check_label(name, "a task's name"),
            category=label,
            priority=check_priority(priority),
            max_retries=None if max_retries is None else check_count(max_retries, "max_retries"),
            retry=RetryPolicy.of(retry),
            timeout=hard,
            soft_timeout=soft,
            executor=executor,
            carriers=[AuthCarrier(name, metadata, self.auth)] if metadata.protected else (),
        )
        close_marks(function)
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
        soft_timeout: float | timedelta | None = None,
        executor: Executor = None,
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
        soft_timeout: float | timedelta | None = None,
        executor: Executor = None,
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
            register = self.register_task(
                label,
                category,
                priority=priority,
                max_retries=max_retries,
                retry=retry,
                timeout=timeout,
                soft_timeout=soft_timeout,
                executor=executor,
            )
            kind = AsyncTask if is_async_callable(function) else SyncTask
            return kind(cast("TaskQueue", self), label, register(function))

        return decorate

    def category(self, name: str, *, executor: Executor = None, background: bool = False) -> None:
        """Say how the tasks of a category are run; may be said again.

        Args:
            name: of the category.
            executor: what runs the functions of those tasks that say nothing else; see
                :meth:`register_task`.
            background: start none of them while ``async with queue.foreground():`` is held
                anywhere in the process.

        Raises:
            InvalidCallError: a value can't be what it has to be, or a function that is
                registered in the category can't be run so.
        """
        label = check_label(name, "category")
        for item in self._registry.definitions.values():
            if item.category == label and item.executor is None:
                soft = item.run_options.soft_timeout
                Executors.check(executor, item.function, item.is_async, soft)
        self._registry.categories[label] = CategoryOptions(executor, bool(background))
        self._categorised(label)

    def _categorised(self, category: str) -> None:
        """Be told that a category is declared."""
