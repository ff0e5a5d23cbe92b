"""Which old tasks are deleted next; their deletion is an operation like any other."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import duckdb

from wopr.domain.checks import LONGEST_SECONDS
from wopr.domain.keeping import Old
from wopr.domain.retaining import RETAIN
from wopr.domain.status import LIVE, TERMINAL, TaskStatus

BATCH = 5_000
_ENDED = ", ".join(f"'{status.value}'" for status in sorted(TERMINAL))

_ALIVE = ", ".join(f"'{status.value}'" for status in sorted(LIVE))
_NOT_NEEDED = (
    "id not in (select cast(unnest(cast(depends_on as json[])) ->> '$' as uuid) "
    f"from tasks where depends_on is not null and status in ({_ALIVE}))"
    " and id not in (select arg_max(id, completed_at) from tasks "
    f"where status = '{TaskStatus.SUCCESS.value}' and schedule in ("
    "select unnest(from_json(depends_on, '[\"VARCHAR\"]')) from schedules "
    "where json_valid(depends_on)) group by schedule)"
)
"""The result of a task is kept while another one that depends on it is live, and the last one of
a schedule while another schedule depends on that."""
_SAID = f"try_cast(options ->> '$.{RETAIN}' as double)"
_SECONDS = (
    f"case when contains(options, '\"{RETAIN}\"') and json_valid(options) "
    f"then case when {_SAID} between 0 and {LONGEST_SECONDS} then {_SAID} end end"
)
_UNTIL = f"completed_at + to_seconds({_SECONDS})"
"""Until when a task says that it is kept; NULL if it says nothing."""


_DOOMED = f"""
select id::varchar from tasks
where list_contains($statuses::varchar[], status) and completed_at <= $before::timestamp
    and coalesce({_UNTIL} <= $before::timestamp, true)
    and coalesce(category = $category::varchar, true)
    and not list_contains($other_than::varchar[], category)
    and {_NOT_NEEDED}
order by seq
limit $most
"""


def doomed(
    connection: duckdb.DuckDBPyConnection, which: Old | datetime, most: int | None = None
) -> list[str]:
    """Return the ids of the oldest of some tasks, so many at most; of all that ended until then.

    Those that say themselves how long they are kept stay until that is over.
    """
    old = which if isinstance(which, Old) else Old(before=which)
    given = {
        "statuses": sorted(old.statuses),
        "before": old.before,
        "category": old.category,
        "other_than": list(old.other_than),
        "most": BATCH if most is None else most,
    }
    return [task_id for (task_id,) in connection.execute(_DOOMED, given).fetchall()]


class Over(NamedTuple):
    """Tasks whose own time is over."""

    ids: list[str]
    ended: datetime | None
    """When the last of them ended."""
    until: datetime | None
    """When the time of the first one is over that stays; it may be needed still."""


def over(connection: duckdb.DuckDBPyConnection, now: datetime) -> Over:
    """Return the oldest of those that say how long they are kept, and whose time is over."""
    ended = f"status in ({_ENDED})"
    rows = connection.execute(
        f"select id::varchar, completed_at from tasks where {ended} and {_UNTIL} <= ? "
        f"and {_NOT_NEEDED} order by seq limit {BATCH}",
        [now],
    ).fetchall()
    [(until,)] = connection.execute(
        f"select min({_UNTIL}) from tasks where {ended} and not ({_UNTIL} <= ? and {_NOT_NEEDED})",
        [now],
    ).fetchall()
    return Over([row[0] for row in rows], max((row[1] for row in rows), default=None), until)
