"""The SQL of the questions behind the pages of the dashboard, one constant each.

As those of :mod:`wopr.insights.queries`: over the tables and views that users can ask too. Each
looks at a stretch of time or at the newest so many, so that it costs the same in a large file.
"""

from __future__ import annotations

from wopr.domain.selection import MOST_FAILURES, SAME


def _fingerprint(text: str) -> str:
    """Return what gives a text without what differs between failures of one kind."""
    for pattern, instead in SAME:
        text = f"regexp_replace({text}, '{pattern.pattern}', '{instead}', 'g')"
    return text


FAILURE_GROUPS = f"""
with failed as materialized (
    select
        task_id,
        occurred_at,
        to_status = 'failed' as final,
        coalesce(error, '') as error,
        coalesce(
            case when contains(data, '"roots":') then data ->> '$.roots' end, error, ''
        ) as roots,
        data ->> '$.error_type' as error_type
    from transitions
    where to_status in ('failed', 'retry') and from_status is distinct from 'retry'
        and occurred_at >= $1 and occurred_at <= $4
    order by seq desc
    limit {MOST_FAILURES}
),
prints as materialized (
    select
        failed.task_id,
        occurred_at,
        final,
        failed.error,
        failed.error_type,
        tasks.name,
        {_fingerprint("failed.roots")} as fingerprint,
        floor(epoch(occurred_at - $1) / $2)::integer as bucket
    from failed
    join tasks on tasks.id = failed.task_id
),
by_name as materialized (  -- step by step: what is distinct in a group takes all of it once more
    select
        error_type,
        fingerprint,
        name,
        count(*) as failures,
        count(*) filter (final) as final_failures,
        min(occurred_at) as first_seen,
        max(occurred_at) as last_seen,
        arg_max(task_id, occurred_at) as task_id,
        arg_max(error, occurred_at)[:500] as error
    from prints
    group by error_type, fingerprint, name
),
causes as (
    select
        error_type,
        fingerprint,
        list(distinct name order by name)[:5] as names,
        count(*) as name_count,
        sum(failures)::bigint as failures,
        sum(final_failures)::bigint as final_failures,
        min(first_seen) as first_seen,
        max(last_seen) as last_seen,
        arg_max(task_id, last_seen)::varchar as sample_task_id,
        arg_max(error, last_seen) as sample_error
    from by_name
    group by error_type, fingerprint
),
affected as (
    select error_type, fingerprint, count(*) as tasks
    from (select distinct error_type, fingerprint, task_id from prints) as one
    group by error_type, fingerprint
),
drawn as (
    select error_type, fingerprint, histogram(bucket) as buckets
    from prints
    group by error_type, fingerprint
)
select
    causes.*,
    affected.tasks,
    drawn.buckets,
    (select count(*) from failed) as looked_at,
    (select min(occurred_at) from failed) as looked_since
from causes
join affected on affected.fingerprint = causes.fingerprint
    and affected.error_type is not distinct from causes.error_type
join drawn on drawn.fingerprint = causes.fingerprint
    and drawn.error_type is not distinct from causes.error_type
order by causes.failures desc, causes.last_seen desc, causes.fingerprint
limit $3
"""
"""Which failures were there between two moments, in groups as those of the view ``failures``, and
how many in each stretch of so many seconds? Those with the most, so many; of the newest failures,
whose number and begin are told, too."""

FLOWS_PAGE = """
with chosen as (
    select distinct flow_id
    from tasks
    where flow_id is not null and ($2::uuid is null or flow_id < $2::uuid)
        and created_at <= $3 and created_at >= $4
    order by flow_id desc
    limit $1
)
select
    flow_id::varchar as flow_id,
    arg_min(name, seq) as first_name,
    count(distinct name) as names,
    count(*) as tasks,
    count(*) filter (over) as ended,
    count(*) filter (over and status = 'success') as succeeded,
    count(*) filter (over and status = 'failed') as failed,
    count(*) filter (over and status = 'cancelled') as cancelled,
    count(*) filter (not over and started_at <= $3 and status not in ('pending', 'retry'))
        as running,
    count(*) filter (not over and waiting) as waiting,
    min(created_at) as created_at,
    case when count(*) = count(*) filter (over) then max(completed_at) end as completed_at
from (
    select *, coalesce(completed_at <= $3, false) as over
    from tasks
    where flow_id in (select flow_id from chosen) and created_at <= $3
)
group by flow_id
order by flow_id desc
"""
"""Which flows were the newest so many at a moment, before one of them, and how far was each? Of
those that were enqueued at another moment or later."""

FLOW_BY_NAME = """
select name, case when waiting and status = 'pending' then 'waiting' else status end as state,
    count(*) as tasks, min(id::varchar) as task_id, min(seq) as seq
from tasks
where flow_id = $1::uuid
group by name, state
order by min(seq), state
limit $2
"""
"""How many tasks of each name and state has this flow, and from which number on? Those that were
first, so many."""

SCHEDULE_CELLS = """
select
    schedule,
    floor(epoch(scheduled_for - $1) / $2)::integer as cell,
    count(*) as runs,
    count(*) filter (status = 'failed' and completed_at <= $5) as failed,
    count(*) filter (completed_at is null or completed_at > $5) as live,
    arg_max(id, scheduled_for)::varchar as task_id
from tasks
where schedule in (select unnest($4::varchar[])) and scheduled_for >= $1 and scheduled_for < $3
    and created_at <= $5
group by schedule, cell
"""
"""How many runs of these schedules were planned in each stretch of so many seconds between two
moments, and how did they end?"""

CATEGORY_HOUR = """
with counted as (
    select
        category,
        floor(epoch(completed_at - $1) / $2)::integer as bucket,
        count(*) as tasks,
        count(*) filter (status = 'failed') as failures
    from tasks
    where completed_at >= $1 and completed_at <= $3 and status in ('success', 'failed')
    group by category, bucket
)
select
    category,
    sum(tasks)::bigint as ended,
    sum(failures)::bigint as failed,
    list(bucket) as buckets,
    list(tasks) as counts
from counted
group by category
"""
"""How many tasks of each category ended in each stretch of so many seconds between two moments?"""

CATEGORY_TIMES = """
select
    category,
    quantile_cont(wait, 0.5) as wait_p50,
    quantile_cont(wait, 0.95) as wait_p95,
    quantile_cont(elapsed_seconds, 0.95) as run_p95
from (
    select
        category,
        elapsed_seconds,
        case
            when attempt = 1 and depends_on is null
            then epoch(started_at - greatest(created_at, run_at))
        end as wait
    from tasks
    where completed_at >= $1 and completed_at <= $2 and status in ('success', 'failed')
        and (
            $3::bigint = 1 or seq % 999983 * 2654435761 // 65536 % $3::bigint = 0
            or not list_contains($4::varchar[], category)
        )
) as timed
group by category
"""
"""How long had the tasks of each category waited and run that ended between two moments? Of some
categories, which have many, one task in so many, whichever they are."""

STARTS_WITHIN = """
select asked.number, count(*) as starts
from (
    select
        unnest($1::integer[]) as number,
        unnest($2::varchar[]) as category,
        unnest($3::varchar[]) as name,
        unnest($4::timestamp[]) as since
) as asked
join transitions
    on transitions.to_status = 'started' and transitions.occurred_at >= asked.since
join tasks on tasks.id = transitions.task_id
where tasks.category = asked.category and tasks.name = coalesce(asked.name, tasks.name)
    and transitions.occurred_at >= $5
group by asked.number
"""
"""How many tasks of some categories, or names in them, started since a moment each?"""

USUAL_RUNS = """
select name, quantile_cont(elapsed_seconds, 0.95) as run_p95, count(*) as tasks
from tasks
where completed_at >= $1 and completed_at <= $3 and status = 'success'
    and name in (select unnest($2::varchar[]))
group by name
"""
"""How long did 95 of 100 tasks of these names run, that ended between two moments?"""

WEEK = """
select status = 'failed', histogram(floor(epoch(completed_at - $1) / $2)::integer)
from tasks
where completed_at >= $1 and status in ('success', 'failed')
group by status = 'failed'
"""
"""How many tasks ended in each stretch of so many seconds since a moment, well or not?"""

ACTS_UNTIL = "select coalesce(max(number), 0) + 1 from acts where began_at <= ?"
"""What is the number of the first act after a moment?"""

COLUMNS = """
select table_name, column_name, data_type
from information_schema.columns
where table_schema = 'main'
order by table_name, ordinal_position
limit 1000
"""
"""Which tables and views can be asked, and which columns do they have?"""
