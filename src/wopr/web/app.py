"""One ASGI application: REST below ``/api/v1``, the dashboard at the root of it."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount

from wopr.queue.queue import TaskQueue
from wopr.web.api.problems import refused
from wopr.web.api.routes import routes as api_routes
from wopr.web.guard.guard import Guard
from wopr.web.guard.policy import Authenticate, Loopback, policy_of
from wopr.web.pages.routes import routes as page_routes


def create_app(
    queue: TaskQueue,
    *,
    authenticate: Authenticate | None = None,
    hosts: Sequence[str] | None = None,
    loopback: Loopback | str | None = None,
) -> Starlette:
    """Return an application to serve, or to mount in another one: ``app.mount("/wopr", …)``.

    Who has a token of ``wopr token create`` gets in, with its role. Besides, who asks from this
    machine, directly, is its user; unless the application tells who asks, or a setting says else.

    Args:
        queue: used on the event loop that serves the application.
        authenticate: tells from a request who asks, a :class:`Caller` with a name and a role, or
            ``None``: that of the application around this one. It may be a coroutine function.
        hosts: names that requests may ask for, besides addresses, localhost and names without a
            dot. Default: ``WOPR_TASKS_HTTP_HOSTS``, or any if ``authenticate`` is given.
        loopback: ``"admin"`` or ``"token"``. Default: ``WOPR_TASKS_WEB_LOOPBACK``.

    Raises:
        InvalidCallError: an argument can't be what it has to be.
    """
    policy = policy_of(queue, authenticate, hosts, loopback)
    app = Starlette(
        routes=[Mount("/api/v1", routes=api_routes()), *page_routes()],
        middleware=[Middleware(Guard, queue, policy)],
        exception_handlers={HTTPException: refused},
    )
    app.state.queue = queue
    return app
