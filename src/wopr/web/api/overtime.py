"""What a queue did over time, and when what is left will be done."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from wopr.domain.eta import Eta
from wopr.domain.selection import MOST_VALUES
from wopr.ports.series import TimeSeries
from wopr.web.api.endpoints import Asked, Endpoint, Model
from wopr.web.api.fields import Label, When
from wopr.web.api.selecting import Selected, conditions_of
from wopr.web.guard.roles import Role

Labels = Annotated[list[Label], Field(min_length=1, max_length=MOST_VALUES)]


class SeriesQuery(Model):
    """Which time series."""

    by: Literal["minute", "hour", "day"] = "hour"
    """How long a step is; in UTC."""
    since: When | None = None
    """From when on: a time with its zone, or so many seconds ago."""
    until: When | None = None
    """Until when; without it, now."""
    category: Labels | None = None
    name: Labels | None = None
    split: Literal["category", "name"] | None = None
    """A series for each category, or each name; of the 50 with the most tasks."""
    compare: bool = False
    """Also the same steps a week earlier."""


async def series(asked: Asked) -> TimeSeries:
    """Answer what happened, step by step."""
    query: SeriesQuery = asked.query
    return await asked.queue.series(
        query.by,
        since=query.since,
        until=query.until,
        category=query.category,
        name=query.name,
        split=query.split,
        compare=query.compare,
    )


async def eta(asked: Asked) -> Eta:
    """Answer when the selected tasks will be done, or why never."""
    given = await conditions_of(asked, asked.query)
    return await asked.queue.eta(condition=given.pop("where"), **given)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/series",
        name="series",
        about="Queue",
        summary="What happened, by minute, hour or day",
        needs=Role.READ,
        handler=series,
        query=SeriesQuery,
        answers=TimeSeries,
        costly=True,
    ),
    Endpoint(
        method="GET",
        path="/eta",
        name="eta",
        about="Queue",
        summary="When the selected tasks will be done, or why never",
        needs=Role.READ,
        handler=eta,
        query=Selected,
        answers=Eta,
        costly=True,
    ),
)
