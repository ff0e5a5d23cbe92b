"""The SQL behind the pages of tasks, one constant each, as in :mod:`wopr.insights.queries`."""

from __future__ import annotations

USUAL_RUN = """
select
    count(*) as tasks,
    approx_quantile(elapsed_seconds, 0.5) as run_p50,
    approx_quantile(elapsed_seconds, 0.95) as run_p95,
    avg((status = 'failed')::integer) as failed
from tasks
where name = ? and completed_at >= make_timestamp(epoch_us(now())) - interval 7 days
    and status in ('success', 'failed')
"""
"""How long do tasks of a name usually run, and how many of them fail? Of the last week."""

WORDS = """
select name, category, count(*) as tasks from tasks group by name, category
order by tasks desc, name, category limit 1000
"""
"""Which names and categories are there? Those with the most tasks."""

FLOW_ENDED = """
select count(*) as total, count(completed_at) as ended from tasks where flow_id = ?::uuid
"""
"""How many tasks has a flow, and how many of them have ended?"""
