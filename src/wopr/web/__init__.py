"""REST and the dashboard of a queue, as one ASGI application: :func:`create_app`."""

from wopr.web.app import create_app
from wopr.web.guard.roles import Caller, Role

__all__ = ["Caller", "Role", "create_app"]
