"""REST and the dashboard of a queue, as one ASGI application: :func:`create_app`."""

from wopr.web.app import create_app

__all__ = ["create_app"]
