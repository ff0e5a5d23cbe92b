"""A route says which role it needs; nothing is served without one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wopr.queue.queue import TaskQueue
from wopr.web.guard.roles import Caller, Role

Handler = Callable[[Request], Awaitable[Response]]


def route(path: str, handler: Handler, *, needs: Role, methods: Sequence[str] = ("GET",)) -> Route:
    """Return a route that answers 403 to whoever lacks the role."""

    async def allowed(request: Request) -> Response:
        caller = caller_of(request)
        if not caller.role.allows(needs):
            raise HTTPException(
                403,
                f"{request.method} {request.url.path} needs the role {needs}; {caller.name} has "
                f"{caller.role}. A token with it: wopr token create NAME --role {needs}.",
            )
        return await handler(request)

    return Route(path, allowed, methods=list(methods), name=handler.__name__)


def caller_of(request: Request) -> Caller:
    """Return who asks, as the guard found out before any route was looked for."""
    caller: Caller = request.state.caller
    return caller


def queue_of(request: Request) -> TaskQueue:
    """Return the queue that this application is about."""
    queue: TaskQueue = request.app.state.queue
    return queue
