"""What an application hooks into its queue: handlers of events, and middlewares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from wopr.access.services import S
from wopr.calls.registry import Middleware
from wopr.domain.callables import is_async_callable
from wopr.domain.errors import InvalidCallError
from wopr.domain.events import EventHandler
from wopr.domain.jsontext import shown
from wopr.queue.face import Face

H = TypeVar("H", bound=EventHandler)
M = TypeVar("M", bound=Middleware)


class Hooks(Face):
    """Handlers of events, and middlewares around the run of a task."""

    @overload
    def on(self, kind: str) -> Callable[[H], H]: ...
    @overload
    def on(self, kind: str, handler: EventHandler) -> Callable[[], None]: ...
    def on(self, kind: str, handler: EventHandler | None = None) -> Any:
        """Call a function with each event of a kind, after it is on disk.

        Args:
            kind: ``task.enqueued``, ``task.started``, ``task.succeeded``, ``task.retrying``,
                ``task.snoozed``, ``task.failed``, ``task.cancelled``, ``task.interrupted``,
                ``task.recovered``, ``task.renewed``, ``task.released``,
                ``task.restored``, ``task.prioritized``, ``task.transferred``, ``task.delayed``, or
                ``task.*`` for all of them.
            handler: takes the event, a :class:`wopr.TaskEvent`. A plain function is called in
                the queue's event loop, in the order of the events, and must not block; a
                coroutine function runs as a task of its own. What it raises is logged and
                changes nothing. Without it, ``on`` is a decorator.

        Returns what ends it. The process that owns the file tells; events are not kept: what
        a dead process did not get to tell is in the history only.

        Raises:
            InvalidCallError: there is no such kind, or the handler can't be called.
        """
        if handler is not None:
            return self._core.access.events.on(kind, handler)

        def decorate(function: H) -> H:
            self._core.access.events.on(kind, function)
            return function

        return decorate

    def middleware(self, function: M) -> M:
        """Put a coroutine function around each run of each task; usable as a decorator.

        It is given the :class:`wopr.CurrentTask` and a function to await for what comes next:
        the middleware that was registered after it, and in the end the task's own function,
        whatever runs that. It may raise, change the result, or not call it at all. It runs
        within the task's timeout.

        Raises:
            InvalidCallError: it is no coroutine function.
        """
        if not is_async_callable(function):
            raise InvalidCallError(
                "A middleware is a coroutine function: async def middleware(task, call_next): "
                f"return await call_next(). This is {shown(function)}."
            )
        self._core.registry.put_around(function)
        return function

    def add_service(self, service: S) -> S:
        """Run something beside the workers: it is started with them, in this process.

        Args:
            service: has two coroutine functions, ``start()`` and ``stop()``. It is stopped
                before the queue shuts down, while tasks can still be enqueued. If one raises,
                that is logged, and the workers go on.

        A :class:`wopr.notifications.NotificationService` with this queue adds itself.
        """
        self._core.access.services.add(service)
        return service
