"""The SQL behind the numbers of the overview, as in :mod:`wopr.insights.queries`."""

from __future__ import annotations

ENDED_WITHIN = """
select
    count(*) filter (status = 'success') as succeeded,
    count(*) filter (status = 'failed') as failed,
    approx_quantile(
        case
            when attempt = 1 and depends_on is null
                and ($4::bigint = 1 or seq % 999983 * 2654435761 // 65536 % $4::bigint = 0)
            then epoch(started_at - greatest(created_at, run_at))
        end,
        0.95
    ) as wait_p95
from tasks
where completed_at >= $1 and completed_at < $2 and status in ('success', 'failed')
    and ($3::varchar is null or category = $3)
"""
"""How many tasks ended between two moments, and how long had 95 of 100 waited? Approximately, and
of those that waited for nobody and ran once; of one task in $4, whichever they are."""
