"""What a queue was, what it did over time, and when what is left will be done."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from wopr.core.eta import eta_of
from wopr.core.past import Past, past_of
from wopr.core.series import asked_of, series_of
from wopr.core.timethere import time_there
from wopr.domain.eta import Eta
from wopr.domain.status import TaskStatus
from wopr.ports.series import Resolution, TimeSeries
from wopr.queue.face import Face

Several = str | Iterable[str]


class OverTime(Face):
    """Reads of the past, and of what follows from it. Without a file they answer empty."""

    def as_of(self, moment: datetime | float | timedelta) -> Past:
        """Return the queue as it was at a moment: it has the reads of a queue, of then.

        Args:
            moment: an aware datetime; or so many seconds ago.

        Raises:
            InvalidCallError: it is none of these, or has not come.
        """
        return past_of(self._core, moment)

    async def series(
        self,
        by: Resolution | str = Resolution.HOUR,
        *,
        since: datetime | float | timedelta | None = None,
        until: datetime | float | timedelta | None = None,
        category: str | Iterable[str] | None = None,
        name: str | Iterable[str] | None = None,
        split: Literal["category", "name"] | None = None,
        compare: bool = False,
    ) -> TimeSeries:
        """Return what happened over time: arrivals, starts, outcomes, backlog, waits and runs.

        Args:
            by: how long a step is: minute, hour or day; in UTC.
            since: the first moment, or so many seconds ago; an hour of minutes, a day of hours
                or two weeks of days, if it is not said. The step that it is in is whole.
            until: the last one; ``None``: now.
            category: only tasks of this category, or of several.
            name: only tasks of this name, or of several.
            split: a series for each category, or each name; of the 50 with the most tasks.
            compare: also the same steps a week earlier.

        Raises:
            InvalidCallError: a value can't be what it has to be; or there are too many steps.
            QueryError: the storage has no SQL, or it takes too long.
        """
        now = await time_there(self._core)
        asked = asked_of(now, by, since, until, category, name, split)
        return await series_of(self._core, asked, compare=bool(compare))

    async def eta(
        self,
        category: Several | None = None,
        name: Several | None = None,
        *,
        status: TaskStatus | str | Iterable[TaskStatus | str] | None = None,
        since: datetime | float | timedelta | None = None,
        until: datetime | float | timedelta | None = None,
        flow: str | None = None,
        schedule: str | None = None,
        tag: str | None = None,
        error: str | None = None,
        ids: Several | None = None,
        condition: str | None = None,
    ) -> Eta:
        """Say when the tasks that wait and run now will be done, by the rates that are measured.

        With a range; or why never: paused, nobody works, more arrives than can be done. Without a
        condition of all tasks there are. Those of ``queue.tasks.where``, with whole ids.

        Args:
            category: only of this category, or of several.
            name: only of this task, or of several.
            status: only in this status, of those that have not ended.
            since: enqueued at this moment or later; or so many seconds ago at most.
            until: enqueued before this moment; or more than so many seconds ago.
            flow: of this flow.
            schedule: enqueued by this schedule.
            tag: with this tag.
            error: whose newest failure says this, but for numbers.
            ids: only these.
            condition: in SQL over the columns of ``tasks``.

        Raises:
            InvalidCallError: a value can't be what it has to be.
            QueryError: the storage has no SQL, or it takes too long.
        """
        given = {
            "category": category,
            "name": name,
            "status": status,
            "since": since,
            "until": until,
            "flow": flow,
            "schedule": schedule,
            "tag": tag,
            "error": error,
            "ids": ids,
            "where": condition,
        }
        return await eta_of(self._core, given)
