"""What the code declares: tasks, handlers, schedules, categories, what goes along with a call."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from functools import cached_property
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

from wopr.auth.carrier import AuthCarrier
from wopr.auth.metadata import close_marks, requirements_of
from wopr.calls.limits import limit_of
from wopr.calls.options import (
    TASK_OPTIONS,
    AttemptOptions,
    PlaceOptions,
    RegistrationOptions,
    ScheduleOptions,
    TaskOptions,
    check_options,
    encode_options,
)
from wopr.calls.registry import CategoryOptions
from wopr.core.schedules import Schedules
from wopr.core.task import AsyncTask, SyncTask, Task, TaskDecorator
from wopr.domain.callables import is_async_callable
from wopr.domain.checks import check_count, check_label, check_priority, check_retain, check_seconds
from wopr.domain.errors import DuplicateTaskError, InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.leftout import names_options
from wopr.domain.retry import RetryPolicy
from wopr.domain.status import TaskPriority
from wopr.executors.choice import ExecutorChoice, Executors
from wopr.handlers.declares import Declares
from wopr.handlers.registered import RegisteredHandler
from wopr.queue.face import Face

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
H = TypeVar("H")
AnyTask = TypeVar("AnyTask", bound=Task[..., Any])

_OF_THE_TASK = (*PlaceOptions.__annotations__, *AttemptOptions.__annotations__)


class ScheduleDecorator(Protocol):
    """What ``queue.schedule(…)`` returns."""

    @overload
    def __call__(self, function: AnyTask, /) -> AnyTask: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(  # type: ignore[overload-overlap]  # the first that fits wins
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...


class Registration(Face):
    """Registers what the code declares, under its names."""

    @property
    def provider(self) -> Callable[[type[Any]], Any] | None:
        """Makes the instances of handlers without a factory, given the class; ``None``: nobody."""
        return self._core.provider

    @provider.setter
    def provider(self, provider: Callable[[type[Any]], Any] | None) -> None:
        self._core.provider = provider

    @property
    def handlers(self) -> dict[type, RegisteredHandler[Any]]:
        """A copy of the registered handlers, by class."""
        return dict(self._core.handlers)

    @property
    def categories(self) -> list[str]:
        """The categories that tasks are registered in, in the order of their names."""
        return sorted({item.category for item in self._core.registry.definitions.values()})

    @cached_property
    def schedules(self) -> Schedules:
        """The schedules of this queue: add, list, pause, preview and more."""
        return Schedules(self._core)

    def register_handler(
        self,
        handler_type: type[H],
        factory: Callable[[], H] | None = None,
        *,
        dispatch: bool = False,
    ) -> RegisteredHandler[H]:
        """Register the decorated methods of a ``@TaskHandler()`` class as tasks.

        Args:
            handler_type: the class; a method's task is called ``module.Class.method``.
            factory: makes its one instance in this queue, when a task first needs it and in
                that task's thread; a failure is that attempt's. ``None`` leaves it to
                :attr:`provider`, or without one to the class itself.
            dispatch: whether a plain call of a method with ``@task``, on any instance of the class,
                enqueues it and returns a :class:`wopr.handlers.DispatchedTask`. Within a task the
                same call runs the method.

        Raises:
            DuplicateTaskError: the class is registered, or its plain calls go to another queue, or
                a name belongs to another function.
            InvalidCallError: the class can't be registered.
        """
        if handler_type in self._core.handlers:
            raise DuplicateTaskError(
                f"{handler_type.__qualname__} is registered with this queue already. Use what "
                f"register_handler() returned, or queue.handlers[{handler_type.__qualname__}]."
            )
        handler = RegisteredHandler(
            cast("Declares", self),
            self._core.registry,
            handler_type,
            factory,
            plain_calls_dispatch=dispatch,
        )
        self._core.handlers[handler_type] = handler
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
        self._core.variables.declare(variable, name)
        self._core.registry.carry(
            self._core.variables
        )  # not before: without any, calls cost nothing more

    @names_options(RegistrationOptions)
    def register_task(
        self, name: str, category: str = "default", **options: Unpack[RegistrationOptions]
    ) -> Callable[[F], F]:
        """Register a function under a name; returns it unchanged.

        Args:
            name: unique across all categories; stored with every task.
            category: where its tasks wait and which workers run them.
            **options: ``priority`` (NORMAL), ``max_retries`` (0, or as many as a policy's
                ``stop`` allows), ``retry``, ``timeout``, ``soft_timeout`` (seconds or
                timedelta), ``executor``, ``retain``, ``limit``, ``rate`` and ``key``; see
                :class:`wopr.calls.options.RegistrationOptions`.

        Raises:
            DuplicateTaskError: the name belongs to another function.
            InvalidCallError: a value can't be what it has to be, or there is no such option.
            ConflictingAuthMetadataError: the function is public and protected at once.
        """
        check_label(name, "a task's name")  # @register_task without a name would end up here
        check_options(options, TASK_OPTIONS)

        def register(function: F) -> F:
            self._register(function, name, category, **options)
            return function

        return register

    def _register(
        self,
        function: Callable[..., Any],
        name: str,
        category: str,
        **options: Unpack[RegistrationOptions],
    ) -> None:
        registry, max_retries = self._core.registry, options.get("max_retries")
        retain = options.get("retain")
        metadata = requirements_of(function)
        hard, soft = _timeouts(name, options)
        label = check_label(category, "category")
        executor = options.get("executor")
        used = executor if executor is not None else registry.category(label).executor
        Executors.check(used, function, is_async_callable(function), soft)
        registry.add(
            function,
            name=check_label(name, "a task's name"),
            category=label,
            priority=check_priority(options.get("priority", TaskPriority.NORMAL)),
            max_retries=None if max_retries is None else check_count(max_retries, "max_retries"),
            retry=RetryPolicy.of(options.get("retry")),
            timeout=hard,
            soft_timeout=soft,
            executor=executor,
            carriers=[AuthCarrier(name, metadata, self._core.auth)] if metadata.protected else (),
            limit=limit_of(function, name, label, options),
            options=encode_options(retain=None if retain is None else check_retain(retain)),
        )
        close_marks(function)
        self._core.access.registered(name)

    @overload
    def task(  # type: ignore[overload-overlap]  # the first that fits wins: a coroutine function
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def task(self, *, name: str | None = None, **options: Unpack[TaskOptions]) -> TaskDecorator: ...
    @names_options(TaskOptions)
    def task(self, *functions: Any, name: str | None = None, **options: Unpack[TaskOptions]) -> Any:
        """Make a function a :class:`Task`: still callable, and with ``enqueue``.

        Works with and without parentheses. Without ``name`` it is the function's
        qualified name without its module. Other arguments as in :meth:`register_task`,
        ``category`` too.
        """

        def decorate(function: Callable[..., Any]) -> Task[..., Any]:
            label = _default_name(function) if name is None else name
            given = cast("dict[str, Any]", options)
            register = self.register_task(label, **given)
            kind = AsyncTask if is_async_callable(function) else SyncTask
            return kind(self._core, label, register(function))

        check_options(options, TASK_OPTIONS | {"name"})
        return decorate(*functions) if functions else decorate

    @names_options(ScheduleOptions)
    def schedule(
        self, *, name: str | None = None, **options: Unpack[ScheduleOptions]
    ) -> ScheduleDecorator:
        """Declare a schedule of a task: above ``@queue.task``, or on a plain function.

        The rows follow the code when the scheduler starts: a new schedule is added, a
        changed one is changed, and one that is not declared any more is paused.

        Args:
            name: of the schedule; ``None`` means the name of the task.
            **options: see :class:`wopr.calls.options.ScheduleOptions`. On a plain function
                ``category``, ``priority``, ``max_retries``, ``retry`` and ``timeout`` are
                those of its task.

        Raises:
            InvalidScheduleSpecificationError: not exactly one of ``every``, ``interval``,
                ``at``, ``crontab``, ``cron`` and ``run_at`` is given, or it can't be read.
            DuplicateScheduleError: another schedule is declared under this name.
            InvalidCallError: another value, or an argument of the function, is wrong.
        """

        def declare(function: Any) -> Any:
            task, rest = function, cast("dict[str, Any]", options)
            if not isinstance(task, Task):
                given = {key: rest[key] for key in _OF_THE_TASK if rest.get(key) is not None}
                task = self.task(**cast("TaskOptions", given))(function)
                rest = {key: value for key, value in rest.items() if key not in given}
            self.schedules.declare(name, task, **rest)
            return task

        return cast("ScheduleDecorator", declare)

    def category(
        self,
        name: str,
        *,
        executor: ExecutorChoice = None,
        background: bool = False,
        lend_slots: bool = False,
    ) -> None:
        """Say how the tasks of a category are run; may be said again.

        Args:
            name: of the category.
            executor: what runs the functions of those tasks that say nothing else; see
                :meth:`register_task`.
            background: start none of them while ``async with queue.foreground():`` is held
                anywhere in the process.
            lend_slots: while a task waits for others (``handle.result()``, ``queue.wait``, the
                result of a flow), another one of the category may run in its place. It goes
                on once a slot is free again, before anything new starts.

        Raises:
            InvalidCallError: a value can't be what it has to be, or a function that is
                registered in the category can't be run so.
        """
        label = check_label(name, "category")
        for item in self._core.registry.definitions.values():
            if item.category == label and item.executor is None:
                soft = item.run_options.soft_timeout
                Executors.check(executor, item.function, item.is_async, soft)
        self._core.registry.categories[label] = CategoryOptions(
            executor, bool(background), bool(lend_slots)
        )
        self._core.access.categorised(label)


def _timeouts(name: str, options: RegistrationOptions) -> tuple[float | None, float | None]:
    """Return the timeout and the soft timeout in seconds, if the one leaves room for the other."""
    hard, soft = options.get("timeout"), options.get("soft_timeout")
    hard = None if hard is None else check_seconds(hard, "timeout", zero="refuse")
    soft = None if soft is None else check_seconds(soft, "soft_timeout", zero="refuse")
    if hard is not None and soft is not None and soft >= hard:
        raise InvalidCallError(
            f"soft_timeout={soft:g} of task {name!r} would never come: its timeout of {hard:g} s "
            "ends it before."
        )
    return hard, soft


def _default_name(function: Callable[..., Any]) -> str:
    label: str = getattr(function, "__qualname__", "").rpartition("<locals>.")[2]
    if not label:
        raise InvalidCallError(
            f"{shown(function)} has no name of its own. Give the task one: @queue.task(name=…)."
        )
    return label
