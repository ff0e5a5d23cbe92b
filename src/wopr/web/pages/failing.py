"""Pages for what did not go well: each says what happened, and what leads on."""

from __future__ import annotations

import logging
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from wopr.domain.errors import (
    InvalidCallError,
    QueryError,
    ScheduleNotFoundError,
    TaskNotFoundError,
    WoprError,
)
from wopr.web.pages.rendering import page

log = logging.getLogger(__name__)

_HEADS = {
    403: "You may not see this",
    404: "There is nothing here",
    405: "That can't be done here",
    503: "The queue can't be asked",
}
_STATUS: tuple[tuple[type[WoprError], int], ...] = (
    (TaskNotFoundError, 404),
    (ScheduleNotFoundError, 404),
    (InvalidCallError, 422),
    (QueryError, 422),
    (WoprError, 503),
)


async def refused(request: Request, error: Exception) -> Response:
    """Answer what a route, or the guard, refused."""
    assert isinstance(error, HTTPException)
    return _failed(request, error.status_code, str(error.detail))


async def failed(request: Request, error: Exception) -> Response:
    """Answer an error of the queue: its text is a letter already."""
    status = next((code for cls, code in _STATUS if isinstance(error, cls)), 503)
    return _failed(request, status, str(error))


async def broken(request: Request, error: Exception) -> Response:
    """Answer what nobody foresaw; the log has all of it."""
    log.error("The page %s failed.", request.url.path, exc_info=error)
    text = f"{type(error).__name__}: the log of the server has the whole of it."
    return _failed(request, 500, text)


async def missing(request: Request) -> Response:
    """Answer a path that leads nowhere."""
    raise HTTPException(404, f"No page is at {request.url.path}.")


def _failed(request: Request, status: int, text: str) -> Response:
    head = _HEADS.get(status, "That did not work")
    return page(request, "failed.html", code=status, title=head, head=head, text=text)


HANDLERS: dict[Any, Any] = {HTTPException: refused, WoprError: failed, Exception: broken}
"""Which error is answered by whom."""
