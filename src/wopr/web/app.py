"""One ASGI application: REST below ``/api/v1``, the dashboard at the root of it."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount

from wopr.queue.queue import TaskQueue
from wopr.web.api.problems import refused
from wopr.web.api.routes import routes as api_routes
from wopr.web.guard.guard import Guard
from wopr.web.pages.routes import routes as page_routes


def create_app(queue: TaskQueue) -> Starlette:
    """Return an application to serve, or to mount in another one: ``app.mount("/wopr", …)``.

    Args:
        queue: used on the event loop that serves the application.
    """
    app = Starlette(
        routes=[Mount("/api/v1", routes=api_routes()), *page_routes()],
        middleware=[Middleware(Guard)],
        exception_handlers={HTTPException: refused},
    )
    app.state.queue = queue
    return app
