"""A handler class that is registered with a queue, and its tasks."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from wopr.calls.registry import Registry
from wopr.core.task import AsyncTask, SyncTask, Task
from wopr.domain.callables import is_async_callable, signature_of
from wopr.domain.errors import InvalidCallError, TaskNotFoundError
from wopr.domain.jsontext import shown
from wopr.handlers.declares import Declares
from wopr.handlers.dispatch import dispatch
from wopr.handlers.instance import Instance
from wopr.handlers.marks import HANDLER, TaskMark, marked_methods
from wopr.handlers.methods import handler_method

H = TypeVar("H")
P = ParamSpec("P")
R = TypeVar("R")


class RegisteredHandler(Generic[H]):
    """What ``queue.register_handler`` returns.

    Args:
        queue: registers the tasks.
        registry: its definitions.
        handler_type: the class.
        factory: makes its instance; ``None`` leaves that to ``queue.provider``, or without
            one to the class itself.
        plain_calls_dispatch: whether a plain call of a method with ``@task`` enqueues it.

    Raises:
        DuplicateTaskError: a name belongs to another function.
        InvalidCallError: the class can't be registered.
    """

    def __init__(
        self,
        queue: Declares,
        registry: Registry,
        handler_type: type[H],
        factory: Callable[[], H] | None,
        *,
        plain_calls_dispatch: bool = False,
    ) -> None:
        self.handler_type = handler_type
        self._queue = queue
        self._registry = registry
        self._factory = factory
        self._tasks: dict[str, Task[..., Any]] = {}
        self._names: dict[Callable[..., Any], str] = {}
        defaults = self._checked()
        marked = list(marked_methods(handler_type))
        if not marked:
            fix = "Decorate one with those of wopr.handlers; @wopr.task is for functions."
            raise self._refused("has no method with @task or @schedule", fix)
        instance = Instance(handler_type, self._make)
        own = vars(handler_type).get(HANDLER)
        prefix = own.name if isinstance(own, TaskMark) and own.name else _dotted(handler_type)
        for name, method, mark, schedule in marked:
            function = handler_method(instance, handler_type, name, method)
            said = mark or TaskMark()
            label = said.name or f"{prefix}.{name}"
            task = queue.task(name=label, **{**defaults.given(), **said.given()})(function)
            if schedule is not None:
                queue.schedule(name=schedule.name, **schedule.options)(task)
            if mark is not None:
                self._tasks[name] = task
                self._names[method] = name
                if plain_calls_dispatch:
                    dispatch(queue, handler_type, name, task)

    def __repr__(self) -> str:
        return f"<RegisteredHandler {self.handler_type.__qualname__}: {', '.join(self._tasks)}>"

    @property
    def tasks(self) -> dict[str, Task[..., Any]]:
        """A copy of its tasks, by the name of the method; only those with ``@task``."""
        return dict(self._tasks)

    @overload
    def task(  # type: ignore[overload-overlap]  # the first that fits wins
        self, method: Callable[Concatenate[H, P], Coroutine[Any, Any, R]]
    ) -> AsyncTask[P, R]: ...
    @overload
    def task(self, method: Callable[Concatenate[H, P], R]) -> SyncTask[P, R]: ...
    @overload
    def task(self, method: str) -> Task[..., Any]: ...
    def task(self, method: Callable[..., Any] | str) -> Task[..., Any]:
        """Return the task of a method, to enqueue it, or to run it here and now.

        Args:
            method: the method as the class has it, like ``ReportHandler.build``: type
                checkers then know its arguments and result. Or its name.

        Raises:
            TaskNotFoundError: the class has no such method with ``@task``.
        """
        name = method if isinstance(method, str) else self._names.get(method)
        task = None if name is None else self._tasks.get(name)
        if task is not None:
            return task
        wanted = method if isinstance(method, str) else getattr(method, "__name__", shown(method))
        raise TaskNotFoundError(
            f"{self.handler_type.__qualname__} has no task {shown(wanted)}.{self._hint(wanted)} "
            f"Only methods with @task can be run; it has {', '.join(self._tasks) or 'none'}."
        )

    def check_call(
        self, task: Task[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Check the arguments of a call as ``enqueue`` does, and write nothing.

        Raises:
            InvalidCallError: they don't fit, or can't be stored.
        """
        self._registry.get(task.name).codec.encode_call(args, kwargs)

    def needs_resources(self, task: Task[..., Any]) -> bool:
        """Whether resources fill parameters of a task, once a call of it was checked."""
        return bool(self._registry.get(task.name).codec.supplied)

    async def with_resources(
        self, task: Task[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return a checked call with what resources fill; they are opened if need be."""
        supplied = self._registry.get(task.name).codec.supplied
        return await self._registry.resources.fill(supplied, args, dict(kwargs))

    def _hint(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._tasks, 1)
        return f" Did you mean {near[0]!r}?" if near else ""

    def _make(self) -> H:
        if self._factory is not None:
            return self._factory()
        provider = self._queue.provider
        made: H = self.handler_type() if provider is None else provider(self.handler_type)
        return made

    def _checked(self) -> TaskMark:
        """Return the options of the class, if instances of it can be made and run."""
        cls, factory = self.handler_type, self._factory
        if not isinstance(cls, type):
            raise InvalidCallError(
                f"register_handler() takes a class with @TaskHandler(), not {shown(cls)}. How its "
                "instance is made says factory=."
            )
        mark = getattr(cls, HANDLER, None)
        if not isinstance(mark, TaskMark):
            raise self._refused("is no task handler", "Put @TaskHandler() above it.")
        if factory is not None and (not callable(factory) or is_async_callable(factory)):
            raise InvalidCallError(
                f"factory= of {cls.__qualname__} must be a plain function without arguments, not "
                f"{shown(factory)}. What has to be awaited, await before you register."
            )
        if factory is None and self._queue.provider is None:
            self._check_constructor()
        return mark

    def _check_constructor(self) -> None:
        fix = "Give it a factory=lambda: …, or set queue.provider before."
        if inspect.isabstract(self.handler_type):
            raise self._refused("is abstract, so nobody can make its instance", fix)
        try:
            signature_of(self.handler_type).bind()
        except TypeError as error:
            raise self._refused(f"can't be made without arguments ({error})", fix) from None

    def _refused(self, why: str, fix: str) -> InvalidCallError:
        return InvalidCallError(f"{_dotted(self.handler_type)} {why}. {fix}")


def _dotted(cls: type) -> str:
    """Return ``module.Class``, without the functions that a class is defined in."""
    return f"{cls.__module__}.{cls.__qualname__.rpartition('<locals>.')[2]}"
