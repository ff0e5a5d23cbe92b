"""While chosen requests are answered, background work waits: for any ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from fnmatch import fnmatchcase
from typing import Any, Protocol

from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class HasForeground(Protocol):
    """A :class:`wopr.TaskQueue`."""

    def foreground(self) -> AbstractAsyncContextManager[object]:
        """Hold the background categories back."""
        ...


class HasContext(Protocol):
    """A :class:`wopr.background.ForegroundScheduler`."""

    def context(self) -> AbstractAsyncContextManager[object]:
        """Hold the background services back."""
        ...


class ForegroundMiddleware:
    """Holds the foreground while requests for some paths are answered.

    Args:
        app: an ASGI application.
        foreground: a ``TaskQueue`` or a ``ForegroundScheduler``. For both, wrap twice.
        paths: which requests. ``"/orders"`` is that path and all below it; one with ``*``,
            ``?`` or ``[`` is matched as a whole, ``*`` also across slashes. Default: all.

    It is let go when the response has been sent, the client is gone, or the application has
    returned or raised. Only HTTP counts: a websocket may stay open for days.

    Raises:
        InvalidCallError: an argument can't be what it has to be.
    """

    def __init__(
        self,
        app: Application,
        foreground: HasForeground | HasContext,
        paths: Sequence[str] = ("/",),
    ) -> None:
        hold = getattr(foreground, "foreground", None) or getattr(foreground, "context", None)
        if hold is None:
            raise InvalidCallError(
                "ForegroundMiddleware takes a TaskQueue or a ForegroundScheduler, not "
                f"{shown(foreground)}."
            )
        if isinstance(paths, str) or not all(
            isinstance(path, str) and path.startswith(("/", "*")) for path in paths
        ):
            raise InvalidCallError(
                f'paths must be a list of paths like ["/orders", "/api/*/quotes"], not '
                f"{shown(paths)}."
            )
        self._app = app
        self._hold: Callable[[], AbstractAsyncContextManager[object]] = hold
        self._paths = tuple(paths)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not self._matches(scope["path"]):
            await self._app(scope, receive, send)
            return
        async with AsyncExitStack() as held:
            await held.enter_async_context(self._hold())

            async def receive_on() -> Message:
                message = await receive()
                if message["type"] == "http.disconnect":
                    await held.aclose()
                return message

            async def send_on(message: Message) -> None:
                await send(message)
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    await held.aclose()

            await self._app(scope, receive_on, send_on)

    def _matches(self, path: str) -> bool:
        return any(_matches(path, pattern) for pattern in self._paths)


def _matches(path: str, pattern: str) -> bool:
    if any(sign in pattern for sign in "*?["):
        return fnmatchcase(path, pattern)
    start = pattern.rstrip("/")
    return path == start or path.startswith(f"{start}/")
