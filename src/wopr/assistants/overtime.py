"""The questions of an assistant about time: what was, what happened since, and when it is done."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from wopr.domain.errors import InvalidCallError
from wopr.queue.queue import TaskQueue

HOUR = 3_600.0
LONGEST_HOURS = 24.0 * 366

Labels = Annotated[list[str] | None, Field(max_length=50)]
Hours = Annotated[float | None, Field(gt=0, le=LONGEST_HOURS)]


class OverTime:
    """Answers questions about the past of one queue, and about what follows from it."""

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue

    async def over_time(
        self,
        by: Annotated[
            Literal["minute", "hour", "day"], Field(description="How long a step is, in UTC.")
        ] = "hour",
        hours: Annotated[
            Hours, Field(description="So far back. By default 24 steps or so.")
        ] = None,
        category: Annotated[Labels, Field(description="Only of these categories.")] = None,
        name: Annotated[Labels, Field(description="Only of these names.")] = None,
        split: Annotated[
            Literal["category", "name"] | None, Field(description="One series for each.")
        ] = None,
        *,
        compare: Annotated[bool, Field(description="Also the same steps a week earlier.")] = False,
    ) -> Any:
        """Say what happened over time: arrivals, starts, outcomes, backlog, waits and run times."""
        since = None if hours is None else hours * HOUR
        found = await self._queue.series(
            by, since=since, category=category, name=name, split=split, compare=compare
        )
        return {**asdict(found), "by": found.by.value}

    async def when_done(
        self,
        category: Annotated[Labels, Field(description="Only of these categories.")] = None,
        name: Annotated[Labels, Field(description="Only of these names.")] = None,
    ) -> Any:
        """Estimate when what waits and runs will be done, with a range; or say why never."""
        return asdict(await self._queue.eta(category, name))

    async def status_then(
        self,
        hours_ago: Annotated[Hours, Field(description="So many hours ago, or")] = None,
        at: Annotated[
            AwareDatetime | None, Field(description="at this time, with its zone.")
        ] = None,
    ) -> Any:
        """Say how the queue was at a moment: what waited and ran, what was paused, the counts."""
        past = self._queue.as_of(_moment(hours_ago, at))
        return {
            "status": asdict(await past.status()),
            "counts": await past.get_task_stats(),
            "backlog": [asdict(one) for one in await past.backlog()],
        }


def _moment(hours_ago: float | None, at: datetime | None) -> datetime | float:
    if at is not None and hours_ago is None:
        return at
    if hours_ago is not None and at is None:
        return hours_ago * HOUR
    raise InvalidCallError("Give one of hours_ago and at.")
