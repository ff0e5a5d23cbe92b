"""Every page, and the files that they need."""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute, Mount

from wopr.web.guard.roles import Role
from wopr.web.pages import assets, overview, task, taskacts, taskedit, tasks
from wopr.web.pages.failing import HANDLERS, missing
from wopr.web.pages.more import MORE
from wopr.web.routing import route

MODULES = (overview, tasks, taskacts, taskedit, task, *MORE)
"""Each has ``routes()``; of two that answer a path, the first does."""


def routes() -> list[BaseRoute]:
    """Return them all, as the last of the application: they answer what nobody else does."""
    found = [one for module in MODULES for one in module.routes()]
    rest = route("/{path:path}", missing, needs=Role.READ)
    handled = Middleware(ExceptionMiddleware, handlers=HANDLERS)
    return [Mount("", routes=[*found, *assets.routes(), rest], middleware=[handled])]
