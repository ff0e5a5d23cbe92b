"""Run a handler's task here and now, without the queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wopr.auth import ensure_allowed, ensure_allowed_sync
from wopr.core.task import Task
from wopr.domain.callables import is_async_callable
from wopr.domain.errors import (
    TaskApplicationContextNotFoundError,
    TaskAsyncInvocationRequiredError,
    TaskNotFoundError,
)
from wopr.domain.jsontext import shown
from wopr.handlers.declares import HasHandlers
from wopr.handlers.dispatch import directly
from wopr.handlers.registered import RegisteredHandler


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectTaskInvocation:
    """Which method to run, and with what."""

    handler_type: type
    method_name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


class DirectTaskExecutor:
    """Runs handlers' tasks in the caller's own thread and context.

    The handler's instance, the check of the arguments and that of the caller's identity
    are those of a queued run. Nothing is stored: no row, no retry, no timeout. Context
    variables are the caller's; what the task sets stays set.

    Args:
        queue: the handlers are registered with it; it need be neither open nor enabled.
    """

    def __init__(self, queue: HasHandlers | None = None) -> None:
        self._queue = queue

    def set_application_context(self, queue: HasHandlers) -> None:
        """Give it the queue later, or another one."""
        self._queue = queue

    def execute(self, invocation: DirectTaskInvocation) -> Any:
        """Run a plain method and return what it returns.

        Raises:
            TaskApplicationContextNotFoundError: there is no queue.
            TaskNotFoundError: the class is not registered, or has no such task.
            TaskAsyncInvocationRequiredError: it is a coroutine method, or needs resources.
            InvalidCallError: the arguments don't fit.
            AuthRequirementDeniedError: the caller may not run it.
        """
        queue, handler, task = self._found(invocation)
        if is_async_callable(task.function):
            raise TaskAsyncInvocationRequiredError(
                f"{task.name!r} is a coroutine method. Use 'await executor.execute_async(…)'."
            )
        ensure_allowed_sync(task.function, None, queue.auth)
        handler.check_call(task, invocation.args, invocation.kwargs)
        if handler.needs_resources(task):
            raise TaskAsyncInvocationRequiredError(
                f"{task.name!r} needs resources, and these have to be awaited. Use 'await "
                "executor.execute_async(…)'."
            )
        with directly():
            return task.function(*invocation.args, **invocation.kwargs)

    async def execute_async(self, invocation: DirectTaskInvocation) -> Any:
        """Run a coroutine method or a plain one and return what it returns.

        A plain one runs in this thread too, and holds the event loop up meanwhile. Resources
        are those of the queue; ``queue.shutdown()`` closes them.

        Raises:
            TaskApplicationContextNotFoundError: there is no queue.
            TaskNotFoundError: the class is not registered, or has no such task.
            InvalidCallError: the arguments don't fit.
            AuthRequirementDeniedError: the caller may not run it.
        """
        queue, handler, task = self._found(invocation)
        await ensure_allowed(task.function, None, queue.auth)
        handler.check_call(task, invocation.args, invocation.kwargs)
        args, kwargs = await handler.with_resources(task, invocation.args, invocation.kwargs)
        with directly():
            value = task.function(*args, **kwargs)
            return await value if is_async_callable(task.function) else value

    def _found(
        self, invocation: DirectTaskInvocation
    ) -> tuple[HasHandlers, RegisteredHandler[Any], Task[..., Any]]:
        queue = self._queue
        if queue is None:
            raise TaskApplicationContextNotFoundError(
                "The executor has no queue, so it knows no handlers. Give it one: "
                "DirectTaskExecutor(queue), or executor.set_application_context(queue)."
            )
        handler = queue.handlers.get(invocation.handler_type)
        if handler is None:
            name = getattr(invocation.handler_type, "__qualname__", shown(invocation.handler_type))
            raise TaskNotFoundError(
                f"{name} is not registered with this queue. Do queue.register_handler({name}) "
                "first."
            )
        return queue, handler, handler.task(invocation.method_name)
