"""Every route of the REST API."""

from __future__ import annotations

from starlette.routing import BaseRoute

from wopr.web.api import calls, carrying, openapi, overview, tasks
from wopr.web.api.endpoints import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (
    *calls.ENDPOINTS,
    *tasks.ENDPOINTS,
    *overview.ENDPOINTS,
)
"""Every row of the API, in the order of the document; of two paths that fit, the first counts."""


def routes() -> list[BaseRoute]:
    """Return them all, and that of the document."""
    own = [openapi.route_of(ENDPOINTS), *carrying.routes()]
    return [*(one.route() for one in ENDPOINTS), *own]
