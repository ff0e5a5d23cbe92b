"""What goes wrong, as problem documents (RFC 9457): a title, and a letter to who asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, NotRequired

from pydantic import ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from wopr.domain import errors
from wopr.domain.errors import InvalidCallError, TaskNotFoundError, WoprError
from wopr.domain.jsontext import shown
from wopr.domain.masking import mask

MEDIA_TYPE = "application/problem+json"
LONGEST = 4_000
"""Characters of a detail."""
MOST_LOOKED_AT = 1_000
"""Of more misfits their number is told: to look at each takes seconds that nobody else gets."""
MOST_MISFITS = 5
"""So many values that don't fit are named."""
_WHAT_FITS = "What fits is in /api/v1/openapi.json; nothing was done."
_STATUS: tuple[tuple[type[WoprError], int], ...] = (
    (errors.PayloadTooLargeError, 413),
    (errors.DuplicateTaskError, 409),
    (errors.DuplicateScheduleError, 409),
    (errors.InvalidCallError, 422),
    (errors.UniqueKeyConflictError, 409),
    (errors.BacklogFullError, 429),
    (errors.TaskNotFoundError, 404),
    (errors.ScheduleNotFoundError, 404),
    (errors.ActError, 404),
    (errors.AuthRequirementDeniedError, 403),
    (errors.AuthContextNotFoundError, 403),
    (errors.QueryError, 422),
    (errors.QueueDisabledError, 503),
    (errors.QueueClosedError, 503),
    (errors.StorageError, 503),
)
"""The first that an error is one of counts."""
_CURES: tuple[tuple[type[WoprError], str], ...] = (
    (
        errors.TaskNotRegisteredError,
        'GET /api/v1/functions lists what can be enqueued here; with "unchecked": true it may be a '
        "name that only workers elsewhere know.",
    ),
    (
        errors.TaskNotFoundError,
        "GET /api/v1/tasks lists those that there are, GET /api/v1/flows their flows; what was "
        "deleted is in neither.",
    ),
    (errors.ScheduleNotFoundError, "GET /api/v1/schedules lists those that there are."),
    (errors.ActError, "GET /api/v1/acts lists what was done."),
)
"""Where a client finds what would have been right, for errors that tell it to people only."""
RETRY_SECONDS = 1
"""After so long it is worth to ask again what was refused for now."""


class Problem(TypedDict):
    """What went wrong, and what to do about it."""

    type: str
    """The kind of the problem: ``about:blank``, as the status says it."""
    title: str
    """The status in words."""
    status: int
    detail: str
    """What happened, with which values, and what mends it."""
    error: NotRequired[str]
    """Which of wopr's errors it is, where it is one."""


def problem(
    status: int, detail: str, headers: dict[str, str] | None = None, error: str | None = None
) -> Response:
    """Return the answer for something that went wrong."""
    said: Problem = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail[:LONGEST],
    }
    if error is not None:
        said["error"] = error
    more = {"retry-after": str(RETRY_SECONDS)} if status in (429, 503) else {}
    given = {"cache-control": "no-store", **more, **(headers or {})}
    body = to_json(said, inf_nan_mode="null")
    return Response(body, status, headers=given, media_type=MEDIA_TYPE)


@contextmanager
def refers() -> Iterator[None]:
    """Tell that a task which a body refers to is not known: the body is wrong, not the path."""
    try:
        yield
    except TaskNotFoundError as error:
        raise InvalidCallError(str(error)) from error


def status_of(error: WoprError) -> int:
    """Return the status for an error of wopr."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def problem_of(error: Exception) -> Response:
    """Return the answer for an error.

    Raises:
        Exception: what is no error that a request can lead to is raised as it is.
    """
    if isinstance(error, HTTPException):
        return problem(error.status_code, error.detail, dict(error.headers or {}))
    if isinstance(error, ValidationError):
        return problem(422, misfits(error))
    if isinstance(error, WoprError) and (status := status_of(error)) != 500:
        return problem(status, with_cure(error), error=type(error).__name__)
    raise error


def with_cure(error: WoprError) -> str:
    """Return what an error says, and where a client finds what would have been right."""
    said = mask(str(error))
    cure = next((cure for kind, cure in _CURES if isinstance(error, kind)), "")
    if not cure or "/api/v1/" in said:
        return said
    return f"{said}{'' if said.endswith('.') else '.'} {cure}"


async def refused(request: Request, error: Exception) -> Response:
    """Return the answer for what no route answered: there is none, or who asks may not."""
    assert isinstance(error, HTTPException), "it is registered for these"
    if error.detail == HTTPStatus(error.status_code).phrase:  # starlette's own: no route is that
        asked = f"{request.method} {shown(request.url.path)}"
        said = f"There is no {asked}, so nothing was done. What there is: /api/v1/openapi.json"
        return problem(error.status_code, said, dict(error.headers or {}))
    return problem_of(error)


def misfits(error: ValidationError) -> str:
    """Say which values of a request do not fit, and what would."""
    count = error.error_count()
    if count > MOST_LOOKED_AT:
        return f"{count:,} values don't fit. {_WHAT_FITS}"
    found = error.errors(include_url=False, include_input=False, include_context=False)
    said = [_misfit(one) for one in found[:MOST_MISFITS]]
    more = f" (and {len(found) - MOST_MISFITS} more)" if len(found) > MOST_MISFITS else ""
    return f"{'; '.join(said)}{more}. {_WHAT_FITS}"


def _misfit(one: Any) -> str:
    place = ".".join(str(part)[:80] for part in one["loc"])
    said: str = one["msg"].removeprefix("Value error, ")
    return f"{place}: {said}" if place else said
