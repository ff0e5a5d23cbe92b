"""The typed way to enqueue: a task is still its function, and has ``enqueue``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import (
    Any,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from wopr.calls.options import CALL_OPTIONS, Options, check_options
from wopr.calls.present import present
from wopr.calls.signature import Composition, Signature, chunked, mapped, starmapped
from wopr.core.core import Core
from wopr.core.declared import Declared
from wopr.core.handle import TaskHandle
from wopr.core.likefunction import like_function
from wopr.domain.leftout import names_options

P = ParamSpec("P")
R = TypeVar("R")


class Task(Generic[P, R]):
    """A registered function. Calling it runs it directly, as if it were not decorated.

    ``R`` is what the task gives in the end: for a coroutine function what it
    returns when awaited.

    Args:
        home: the queue it is registered with; or what is known of a task that was declared
            without one.
        name: of the task.
        function: what it runs.
    """

    def __init__(self, home: Core | Declared, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function
        self.home = home
        functools.update_wrapper(self, function)

    @property
    def core(self) -> Core:
        """The queue that its calls go to."""
        home = self.home
        return home.core() if isinstance(home, Declared) else home

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function here and now, without the queue."""
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind like a function, should the task be defined in a class."""
        return self if instance is None else functools.partial(self.function, instance)

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    @like_function
    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """Enqueue a call; returns once it is on disk.

        Raises:
            InvalidCallError: the arguments don't fit the function, or can't be stored.
            QueueDisabledError: the queue is switched off.
            StorageError: the storage refused it.
            TaskNotRegisteredError: it was declared without a queue, and is in none.
        """
        core = self.core
        return TaskHandle(core, await core.enqueue(self.name, args, kwargs, {}))

    async def enqueue_many(
        self, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]]
    ) -> list[TaskHandle[R]]:
        """Enqueue any number of calls in as few commits as possible.

        Args:
            calls: one tuple of positional, or mapping of keyword arguments per call.
        """
        core = self.core
        ids = await core.enqueue_many(self.name, calls, {})
        return [TaskHandle(core, task_id) for task_id in ids]

    def s(self, *args: Any, **kwargs: Any) -> Signature[R]:
        """Return a call for a flow; see :meth:`BoundTask.s`."""
        return BoundTask(self, {}).s(*args, **kwargs)

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]:
        """Return a whole call for a flow; see :meth:`BoundTask.si`."""
        return BoundTask(self, {}).si(*args, **kwargs)

    def map(self, items: Iterable[Any]) -> Composition[list[R]]:
        """Return a group with one call per item; see :meth:`BoundTask.map`."""
        return BoundTask(self, {}).map(items)

    def starmap(self, items: Iterable[Sequence[Any]]) -> Composition[list[R]]:
        """Return a group with one call per item; see :meth:`BoundTask.starmap`."""
        return BoundTask(self, {}).starmap(items)

    def chunks(self, items: Iterable[Any], size: int) -> Composition[list[R]]:
        """Return a group with one call per ``size`` items; see :meth:`BoundTask.chunks`."""
        return BoundTask(self, {}).chunks(items, size)

    @names_options(Options)
    def options(self, **options: Unpack[Options]) -> BoundTask[P, R]:
        """Return the task with other options for the calls that follow.

        Args:
            **options: see :class:`wopr.calls.options.Options`.

        Raises:
            InvalidCallError: there is no such option.
        """
        check_options(options, CALL_OPTIONS)
        if options.get("connection") is not None:
            options["connection"] = present(options["connection"])
        return BoundTask(self, options)


class BoundTask(Generic[P, R]):
    """A task with options for its next calls; see :meth:`Task.options`."""

    __slots__ = ("_options", "task")

    def __init__(self, task: Task[P, R], options: Options) -> None:
        self.task = task
        self._options = options

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """Enqueue a call with these options; see :meth:`Task.enqueue`."""
        core = self.task.core
        return TaskHandle(core, await core.enqueue(self.task.name, args, kwargs, self._options))

    async def enqueue_many(
        self, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]]
    ) -> list[TaskHandle[R]]:
        """Enqueue any number of calls with these options; see :meth:`Task.enqueue_many`."""
        core = self.task.core
        ids = await core.enqueue_many(self.task.name, calls, self._options)
        return [TaskHandle(core, task_id) for task_id in ids]

    def s(self, *args: Any, **kwargs: Any) -> Signature[R]:
        """Return a call for a flow, with these options.

        In a chain the result of the step before comes before the ``args``, so they can't
        be checked by a type checker; they are when the flow is enqueued.
        """
        return Signature(self.task.name, args, kwargs, cast("Mapping[str, Any]", self._options))

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]:
        """Return a whole call for a flow, with these options.

        In a chain it waits for the step before, and takes no result of it.
        """
        return replace(self.s(*args, **kwargs), immutable=True)

    def map(self, items: Iterable[Any]) -> Composition[list[R]]:
        """Return a group with one call per item, each with the item as its argument.

        Raises:
            InvalidCallError: there is no item.
        """
        return mapped(self.s(), items)

    def starmap(self, items: Iterable[Sequence[Any]]) -> Composition[list[R]]:
        """Return a group with one call per item, each with the item as all its arguments.

        Raises:
            InvalidCallError: there is no item, or one is no tuple or list.
        """
        return starmapped(self.s(), items)

    def chunks(self, items: Iterable[Any], size: int) -> Composition[list[R]]:
        """Return a group with one call per ``size`` items, each with a list of them.

        Raises:
            InvalidCallError: there is no item, or ``size`` is less than 1.
        """
        return chunked(self.s(), items, size)


class AsyncTask(Task[P, R]):
    """A task whose function is a coroutine function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Return the function's coroutine, to be awaited here and now, without the queue."""
        coroutine: Coroutine[Any, Any, R] = self.function(*args, **kwargs)
        return coroutine


class SyncTask(Task[P, R]):
    """A task whose function is a plain function; workers run it in a thread."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now, without the queue."""
        value: R = self.function(*args, **kwargs)
        return value


class TaskDecorator(Protocol):
    """What ``queue.task(name=…)`` returns."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # the first that fits wins
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...
