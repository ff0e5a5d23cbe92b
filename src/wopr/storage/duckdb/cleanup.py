"""Which old tasks are deleted next; their deletion is an operation like any other."""

from __future__ import annotations

from datetime import datetime

import duckdb

from wopr.domain.status import LIVE, TERMINAL

BATCH = 5_000
_ENDED = ", ".join(f"'{status.value}'" for status in sorted(TERMINAL))

_ALIVE = ", ".join(f"'{status.value}'" for status in sorted(LIVE))
_NOT_NEEDED = (
    "id not in (select cast(unnest(cast(depends_on as json[])) ->> '$' as uuid) "
    f"from tasks where depends_on is not null and status in ({_ALIVE}))"
)
"""The result of a task is kept while another one that depends on it is live."""


def doomed(connection: duckdb.DuckDBPyConnection, before: datetime) -> list[str]:
    """Return the oldest terminal tasks completed before a moment: up to :data:`BATCH` ids."""
    rows = connection.execute(
        f"select id::varchar from tasks where status in ({_ENDED}) and completed_at <= ? "
        f"and {_NOT_NEEDED} order by seq limit {BATCH}",
        [before],
    ).fetchall()
    return [task_id for (task_id,) in rows]
