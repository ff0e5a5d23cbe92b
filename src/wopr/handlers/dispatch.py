"""A plain call of a handler's method enqueues it, where its class is registered so."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from wopr.core.handle import TaskHandle
from wopr.core.task import Task
from wopr.domain.callables import is_async_callable
from wopr.domain.errors import DuplicateTaskError, TaskAsyncInvocationRequiredError
from wopr.executors.context import running_task
from wopr.handlers.declares import Declares

R = TypeVar("R")

_directly: ContextVar[bool] = ContextVar("wopr_directly", default=False)


@contextlib.contextmanager
def directly() -> Iterator[None]:
    """Let plain calls run the methods themselves, for a ``with`` block."""
    token = _directly.set(True)
    try:
        yield
    finally:
        _directly.reset(token)


class DispatchedTask(Generic[R]):
    """What a plain call returns that was enqueued."""

    def __init__(self, queue: Declares, handle: TaskHandle[R]) -> None:
        self._queue = queue
        self.handle = handle

    def __repr__(self) -> str:
        return f"<DispatchedTask {self.task_id}>"

    @property
    def task_id(self) -> str:
        """Its id."""
        return self.handle.id

    def get(self, timeout: float | None = None) -> R:
        """Wait for the result, in a thread without an event loop; raises as ``handle.result``."""
        result: R = self._queue.sync()(self.handle.result, timeout=timeout)
        return result

    async def get_async(self, timeout: float | None = None) -> R:
        """Wait for the result; raises as ``handle.result``."""
        return await self.handle.result(timeout)


class Dispatching:
    """Stands in a class for one of its methods that is a task.

    Within a task, and where something runs directly, a call is that of the method itself.
    """

    def __init__(self, queue: Declares, task: Task[..., Any], method: Callable[..., Any]) -> None:
        functools.update_wrapper(self, method)  # type: ignore[arg-type]  # it is called through __get__
        self.__func__ = method
        self.queue = queue
        self._task = task

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self.__func__
        bound = self.__func__.__get__(instance, owner)
        if running_task() is not None or _directly.get():
            return bound
        call = self._call_async if is_async_callable(self.__func__) else self._call
        return functools.update_wrapper(functools.partial(call), bound)

    def _call(self, *args: Any, **kwargs: Any) -> DispatchedTask[Any]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            handle = self.queue.sync()(self._task.enqueue, *args, **kwargs)
            return DispatchedTask(self.queue, handle)
        raise TaskAsyncInvocationRequiredError(
            f"{self._task.name!r} is a plain method that dispatches, and it was called where an "
            "event loop runs, which it would hold up. Write 'await handler.task("
            f"{self.__func__.__qualname__}).enqueue(…)', or make it a coroutine method."
        )

    async def _call_async(self, *args: Any, **kwargs: Any) -> DispatchedTask[Any]:
        return DispatchedTask(self.queue, await self._task.enqueue(*args, **kwargs))


def dispatch(queue: Declares, handler_type: type, name: str, task: Task[..., Any]) -> None:
    """Let plain calls of a method enqueue its task.

    Raises:
        DuplicateTaskError: they go to another queue already.
    """
    known = vars(handler_type).get(name)
    if isinstance(known, Dispatching) and known.queue is not queue:
        raise DuplicateTaskError(
            f"Plain calls of {handler_type.__qualname__}.{name} go to another queue already. "
            "Register the class with dispatch=True with one queue only."
        )
    method = getattr(handler_type, name)  # also an inherited one; of one that stands in, its own
    setattr(handler_type, name, Dispatching(queue, task, method))
