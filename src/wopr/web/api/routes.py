"""Every route of the REST API."""

from __future__ import annotations

from starlette.routing import BaseRoute

from wopr.web.api import (
    acts,
    alerts,
    calls,
    carrying,
    categories,
    events,
    flows,
    functions,
    openapi,
    overtime,
    overview,
    schedules,
    sql,
    tasks,
)
from wopr.web.api.endpoints import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (
    *calls.ENDPOINTS,
    *functions.ENDPOINTS,
    *tasks.ENDPOINTS,
    *acts.ENDPOINTS,
    *flows.ENDPOINTS,
    *overview.ENDPOINTS,
    *overtime.ENDPOINTS,
    *events.ENDPOINTS,
    *categories.ENDPOINTS,
    *schedules.ENDPOINTS,
    *alerts.ENDPOINTS,
    *sql.ENDPOINTS,
)
"""Every row of the API, in the order of the document; of two paths that fit, the first counts."""


def routes() -> list[BaseRoute]:
    """Return them all, and that of the document."""
    own = [openapi.route_of(ENDPOINTS), *carrying.routes()]
    return [*(one.route() for one in ENDPOINTS), *own]
