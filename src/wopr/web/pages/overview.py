"""Overview: why nothing runs, then what flows."""

from __future__ import annotations

from typing import Any

from starlette.routing import BaseRoute

from wopr.web.pages.asking import Ask
from wopr.web.pages.showing import Page

STATUS_SECONDS = 5.0
"""So old a status may be that is shown."""


async def _values(ask: Ask) -> dict[str, Any]:
    status = await ask.recent.get("status", STATUS_SECONDS, ask.queue.status)
    return {"title": "Overview", "status": status}


PAGE = Page(here="Overview", path="/", template="overview.html", values=_values)


def routes() -> list[BaseRoute]:
    """Return the routes of the page."""
    return PAGE.routes()
