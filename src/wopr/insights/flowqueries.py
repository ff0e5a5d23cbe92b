"""The SQL behind the charts of the overview, as in :mod:`wopr.insights.queries`.

``$1`` and ``$2`` are the moments between which they look, ``$3`` is the width of a stretch in
seconds; ``$4`` a category, or null for all.
"""

from __future__ import annotations

ENDED_SERIES = """
select
    floor(epoch(completed_at - $1) / $3)::integer as stretch,
    count(*) filter (status = 'success') as succeeded,
    count(*) filter (status = 'failed') as failed,
    approx_quantile(wait, 0.5) as wait_p50,
    approx_quantile(wait, 0.95) as wait_p95,
    approx_quantile(elapsed_seconds, 0.5) as run_p50,
    approx_quantile(elapsed_seconds, 0.95) as run_p95
from (
    select
        completed_at,
        status,
        elapsed_seconds,
        case
            when attempt = 1 and depends_on is null
            then epoch(started_at - greatest(created_at, run_at))
        end as wait
    from tasks
    where completed_at >= $1 and completed_at < $2 and status in ('success', 'failed')
        and ($4::varchar is null or category = $4)
)
group by stretch
"""
"""How many tasks ended in each stretch of time, how long had they waited, and run? The percentiles
are approximate, and those of the waits are of tasks that waited for nobody and ran once."""

ENDED_WITHIN = """
select
    count(*) filter (status = 'success') as succeeded,
    count(*) filter (status = 'failed') as failed,
    approx_quantile(
        case
            when attempt = 1 and depends_on is null
            then epoch(started_at - greatest(created_at, run_at))
        end,
        0.95
    ) as wait_p95
from tasks
where completed_at >= $1 and completed_at < $2 and status in ('success', 'failed')
    and ($3::varchar is null or category = $3)
"""
"""How many tasks ended between two moments, and how long had 95 of 100 waited?"""

WAITING_SERIES = """
select
    floor(epoch(occurred_at - $1) / $3)::integer as stretch,
    count(*) filter (came) - count(*) filter (not came) as more
from (
    select
        occurred_at,
        task_id,
        to_status in ('pending', 'retry') as came,
        coalesce(from_status in ('pending', 'retry'), false) as went
    from transitions
    where occurred_at >= $1 and occurred_at < $2
)
where came <> went
    and ($4::varchar is null or task_id in (select id from tasks where category = $4))
group by stretch
"""
"""How many more tasks waited at the end of each stretch of time than at its beginning?"""
