"""Server-sent events of what happens."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from wopr.web.api.endpoints import Asked, Endpoint, Model
from wopr.web.api.feed import Feed, Wanted, feed_of
from wopr.web.api.fields import Label, Status
from wopr.web.guard.roles import Role

HEARTBEAT_SECONDS = 15
SEND_SECONDS = 10.0
"""So long one who listens may take to read what was sent."""
STREAM = "text/event-stream"
Several = Annotated[list[Label], Field(min_length=1, max_length=100)]


class EventsQuery(Model):
    """Which events, and from where on."""

    name: Several | None = None
    """Of tasks of these names."""
    category: Several | None = None
    """Of tasks of these categories."""
    status: Annotated[list[Status], Field(min_length=1, max_length=6)] | None = None
    """That lead to these statuses."""
    task: Label | None = None
    """Of the task with this id."""
    after: Annotated[int, Field(ge=0, le=2**62)] | None = None
    """After the transition of this number; the header `Last-Event-ID` says the same."""


async def events(asked: Asked) -> Response:
    """Answer what happens from now on, or since the event that who asks heard last."""
    from sse_starlette.event import ServerSentEvent
    from sse_starlette.sse import EventSourceResponse

    query: EventsQuery = asked.query
    feed = feed_of(asked.request.app.state, lambda: Feed(asked.queue))
    if feed.full:
        raise HTTPException(503, "As many clients listen as may. Close one, or come back later.")
    wanted = Wanted(
        frozenset(query.name or ()),
        frozenset(query.category or ()),
        frozenset(query.status or ()),
        query.task,
    )
    told = feed.listen(wanted, await feed.newest(), _last(asked))
    return EventSourceResponse(
        told,
        headers={"cache-control": "no-store"},
        ping=HEARTBEAT_SECONDS,
        ping_message_factory=lambda: ServerSentEvent(comment="still here"),
        send_timeout=SEND_SECONDS,
        sep="\n",
    )


def _last(asked: Asked) -> int | None:
    """Return the number of the last event that who asks has."""
    given = asked.request.headers.get("last-event-id", "")
    if given.isascii() and given.isdigit() and len(given) < 19:
        return int(given)
    after: int | None = asked.query.after
    return after


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/events",
        name="events",
        about="Queue",
        summary="What happens, as server-sent events",
        needs=Role.READ,
        handler=events,
        query=EventsQuery,
        media=(STREAM,),
    ),
)
