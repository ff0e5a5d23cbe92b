"""What wopr asks about spans of time: SQL with a name, over the file and the archive.

In all of them $1 and $2 are the span, as naive UTC, and $3 the microseconds of a step. What is
counted by the log alone needs no task; only what is of some tasks, or by name or category, is
joined with them.
"""

from __future__ import annotations

PARTS = """
select case $6::varchar when 'category' then category when 'name' then name end as part, count(*)
from tasks
where created_at < $2 and (completed_at is null or completed_at >= $1) and $3::bigint > 0
    and ($4::varchar[] is null or list_contains($4::varchar[], category))
    and ($5::varchar[] is null or list_contains($5::varchar[], name))
group by part
order by count(*) desc, part
"""
"""Which categories or names had tasks in a span, those with the most first?"""

LOG_KEPT = """
select count(*) from acts where verb = 'cleanup' and selection ->> '$.keep_history' = 'true'
"""
"""How often were tasks deleted, and their log kept?"""

LEFT_IN_LOG = """
select coalesce(
    sum((from_status in ('pending', 'retry'))::int) - sum((to_status in ('pending', 'retry'))::int),
    0
)
from transitions
where occurred_at > $1 and reason <> 'save_task' and task_id not in (
    select id from tasks where completed_at is null or completed_at > $1
)
"""
"""How many tasks waited at a moment of which only the log is left? Those have all ended since, so
it is what the moves from then on come to."""

MOVES = """
select
    epoch_us(occurred_at) // $3::bigint as step,
    null as part,
    from_status,
    to_status,
    count(*)
from transitions
where occurred_at >= $1 and occurred_at < $2 and reason <> 'save_task'
group by step, from_status, to_status
"""
"""How often did tasks go from one status to another, in each step?"""

MOVES_OF = """
with chosen as (
    select
        id, status, attempt, created_at, started_at, completed_at,
        case $6::varchar when 'category' then category when 'name' then name end as part
    from tasks
    where created_at < $2 and (completed_at is null or completed_at >= $1)
        and ($4::varchar[] is null or list_contains($4::varchar[], category))
        and ($5::varchar[] is null or list_contains($5::varchar[], name))
),
unusual as (  -- of which one row does not tell all
    select id, part from chosen
    where attempt > 1 or status in ('retry', 'failed', 'cancelled')
        or (attempt = 1 and status = 'pending')
        or id in (select task_id from transitions where from_status = 'cancelled')
),
usual as (
    select * from chosen
    where not exists (select 1 from unusual where unusual.id = chosen.id)
),
moves as (
    select created_at as moment, part, null as before, 'pending' as after from usual
    union all
    select started_at, part, 'pending', 'started' from usual where attempt = 1
    union all
    select completed_at, part, 'started', 'success' from usual where status = 'success'
    union all
    select transitions.occurred_at, unusual.part, from_status, to_status
    from transitions
    join unusual on unusual.id = transitions.task_id
    where transitions.occurred_at >= $1 and transitions.occurred_at < $2
        and transitions.reason <> 'save_task'
)
select epoch_us(moment) // $3::bigint as step, part, before, after, count(*)
from moves
where moment >= $1 and moment < $2
group by step, part, before, after
"""
"""And those of some categories and names, or by them?"""

ENDED = """
select count(*) from tasks where completed_at >= $1 and completed_at < $2 and $3 > 0
"""
"""How many tasks ended in a span?"""

ENDED_IN_STEPS = """
select epoch_us(completed_at) // $3::bigint as step, count(*)
from tasks
where completed_at >= $1 and completed_at < $2 and status in ('success', 'failed')
    and ($4::varchar is null or category = $4)
group by step
"""
"""How many tasks succeeded or failed for good in each step, of a category or of all?"""

RUNS = """
select category, count(*), avg(elapsed_seconds)
from tasks
where completed_at >= $1 and completed_at < $2 and status in ('success', 'failed')
group by category
"""
"""How many tasks of each category ended in a span, and how long did they run on average?"""

_TIMED = """
with timed as (
    select
        epoch_us(started_at) // $3::bigint as step,
        case $6::varchar when 'category' then category when 'name' then name end as part,
        greatest(epoch(started_at - greatest(created_at, run_at)), 0) as wait,
        null as run
    from tasks
    where started_at >= $1 and started_at < $2 and attempt = 1 and depends_on is null
        and (completed_at is null or completed_at >= $1)
        and ($7::bigint = 1 or seq % 999983 * 2654435761 // 65536 % $7::bigint = 0)
        and ($4::varchar[] is null or list_contains($4::varchar[], category))
        and ($5::varchar[] is null or list_contains($5::varchar[], name))
    union all
    select
        epoch_us(completed_at) // $3::bigint,
        case $6::varchar when 'category' then category when 'name' then name end,
        null,
        elapsed_seconds
    from tasks
    where completed_at >= $1 and completed_at < $2 and status in ('success', 'failed')
        and ($7::bigint = 1 or seq % 999983 * 2654435761 // 65536 % $7::bigint = 0)
        and ($4::varchar[] is null or list_contains($4::varchar[], category))
        and ($5::varchar[] is null or list_contains($5::varchar[], name))
)
"""

TIMED = f"""
{_TIMED}
select step, part, wait, run from timed
"""
"""How long did each task wait for its first start, and how long did each run?"""

TIMES = f"""
{_TIMED}
select
    step,
    part,
    quantile_cont(wait, [0.5, 0.95]),
    quantile_cont(run, [0.5, 0.95])
from timed
group by step, part
"""
"""How long did half and 95 of 100 tasks wait for their first start, and how long did they run? Of
every task, or of one in $7, whichever they are."""

TIMES_ABOUT = f"""
{_TIMED},
classed as (  -- classes of 5 % each; what took less than a millisecond is all one
    select step, part, wait is null as ran, value, count(*) as tasks
    from (
        select step, part, wait, floor(ln(greatest(coalesce(wait, run), 0.001)) / ln(1.05)) as value
        from timed
        where coalesce(wait, run) is not null
    ) as valued
    group by step, part, ran, value
),
summed as (
    select
        *,
        sum(tasks) over (partition by step, part, ran order by value) as up_to,
        sum(tasks) over (partition by step, part, ran) as total
    from classed
),
quantiles as (
    select
        step,
        part,
        ran,
        min(value) filter (up_to >= 0.5 * total) as p50,
        min(value) filter (up_to >= 0.95 * total) as p95
    from summed
    group by step, part, ran
),
seconds as (
    select
        step,
        part,
        ran,
        array[
            case when p50 > -141 then pow(1.05, p50 + 0.5) else 0 end,
            case when p95 > -141 then pow(1.05, p95 + 0.5) else 0 end
        ] as q
    from quantiles
)
select step, part, any_value(q) filter (not ran), any_value(q) filter (ran)
from seconds
group by step, part
"""
"""How long did they about, within 3 %, where exact answers would take too long?"""

AGES = """
with waits as (
    select
        case $6::varchar when 'category' then category when 'name' then name end as part,
        greatest(created_at, run_at) as due,
        case when attempt > 0 then started_at else completed_at end as over
    from tasks
    where created_at < $2 and attempt <= 1 and depends_on is null
        and (started_at is null or started_at >= $1)
        and (completed_at is null or completed_at >= $1)
        and (attempt = 0 or started_at is not null)
        and ($4::varchar[] is null or list_contains($4::varchar[], category))
        and ($5::varchar[] is null or list_contains($5::varchar[], name))
),
steps as (
    select
        part,
        due,
        greatest(epoch_us(due), epoch_us($1)) // $3::bigint as first,
        case
            when over < $2 then epoch_us(over) // $3::bigint
            else (epoch_us($2) + $3::bigint - 1) // $3::bigint
        end as last
    from waits
    where due < $2
),
spans as (
    select part, first, last, min(due) as due from steps where first < last
    group by part, first, last
)
select step, part, max((least((step + 1) * $3::bigint, epoch_us($2)) - epoch_us(due)) / 1e6)
from (select unnest(range(first, last)) as step, part, due from spans) as stepped
group by step, part
"""
"""How old was the oldest task that was due and had not started yet, at the end of each step?"""
