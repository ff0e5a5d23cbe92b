create or replace view wopr.history as
select
    transitions.seq,
    transitions.task_id,
    tasks.name,
    tasks.category,
    transitions.attempt,
    transitions.from_status,
    transitions.to_status,
    transitions.occurred_at,
    transitions.worker,
    transitions.reason,
    transitions.error,
    transitions.data::json ->> 'error_type' as error_type,
    transitions.data::json ->> 'traceback' as traceback,
    (transitions.data::json -> 'result')::text as result,
    transitions.data
from wopr.transitions
left join wopr.tasks on tasks.id = transitions.task_id;

create or replace view wopr.dependencies as
with edges as (
    select
        tasks.id as task_id,
        tasks.name,
        tasks.status,
        tasks.waiting,
        tasks.options::json ->> 'on_parent_failure' as on_parent_failure,
        parent.id::uuid as parent_id
    from wopr.tasks
    cross join lateral json_array_elements_text(tasks.depends_on::json) as parent (id)
    where tasks.depends_on is not null
)
select
    edges.task_id,
    edges.name,
    edges.status,
    edges.waiting,
    coalesce(edges.on_parent_failure, 'cancel') as on_parent_failure,
    edges.parent_id,
    parents.name as parent_name,
    parents.status as parent_status
from edges
left join wopr.tasks as parents on parents.id = edges.parent_id;

create or replace view wopr.task_times as
with attempts as (
    select
        task_id,
        attempt,
        min(occurred_at) filter (where to_status = 'started') as started_at,
        max(occurred_at) filter (
            where from_status = 'started' and to_status <> 'started'
        ) as ended_at
    from wopr.transitions
    where to_status = 'started' or from_status = 'started'
    group by task_id, attempt
),
runs as (
    select
        task_id,
        count(started_at) as attempts,
        min(started_at) as first_started_at,
        sum(wopr.epoch(ended_at - started_at)) as run_seconds
    from attempts
    group by task_id
),
due as (
    select task_id, (data::json ->> 'run_at')::timestamp as run_at
    from wopr.transitions
    where from_status is null
),
freed as (
    select dependencies.task_id, max(parents.completed_at) as freed_at
    from wopr.dependencies
    join wopr.tasks as parents on parents.id = dependencies.parent_id
    group by dependencies.task_id
),
times as (
    select
        tasks.*,
        greatest(
            tasks.created_at,
            due.run_at,
            -- A parent may end after what depends on it: one that failed at once, or runs anyway.
            case
                when freed.freed_at is not null
                then least(freed.freed_at, runs.first_started_at, tasks.completed_at)
            end
        ) as due_at,
        coalesce(runs.attempts, 0) as attempts,
        coalesce(runs.first_started_at, tasks.started_at) as first_started_at,
        coalesce(runs.run_seconds, tasks.elapsed_seconds) as run_seconds
    from wopr.tasks
    left join runs on runs.task_id = tasks.id
    left join due on due.task_id = tasks.id
    left join freed on freed.task_id = tasks.id
)
select
    id as task_id,
    name,
    category,
    priority,
    status,
    attempts,
    created_at,
    due_at,
    first_started_at,
    completed_at,
    wopr.epoch(first_started_at - due_at) as wait_seconds,
    run_seconds,
    wopr.epoch(completed_at - due_at) as total_seconds
from times;

create or replace view wopr.latency as
select
    category,
    name,
    date_trunc('hour', completed_at) as hour,
    count(*) as tasks,
    percentile_cont(0.50) within group (order by wait_seconds) as wait_p50,
    percentile_cont(0.95) within group (order by wait_seconds) as wait_p95,
    percentile_cont(0.99) within group (order by wait_seconds) as wait_p99,
    percentile_cont(0.50) within group (order by run_seconds) as run_p50,
    percentile_cont(0.95) within group (order by run_seconds) as run_p95,
    percentile_cont(0.99) within group (order by run_seconds) as run_p99,
    percentile_cont(0.50) within group (order by total_seconds) as total_p50,
    percentile_cont(0.95) within group (order by total_seconds) as total_p95,
    percentile_cont(0.99) within group (order by total_seconds) as total_p99
from wopr.task_times
where status in ('success', 'failed')
group by category, name, date_trunc('hour', completed_at);

create or replace view wopr.backlog as
with clock as (
    select now() at time zone 'utc' as utc
)
select
    category,
    priority,
    status,
    count(*) as tasks,
    count(*) filter (where coalesce(run_at, created_at) <= utc and waiting is not true) as due,
    count(*) filter (where waiting) as waiting,
    min(created_at) as oldest_created_at,
    wopr.epoch(max(utc) - min(created_at)) as oldest_age_seconds
from wopr.tasks
cross join clock
where status in ('pending', 'started', 'retry')
group by category, priority, status;

create or replace view wopr.flows as
select
    flow_id,
    count(*) as tasks,
    count(*) filter (where status in ('success', 'failed', 'cancelled')) as ended,
    count(*) filter (where status = 'success') as succeeded,
    count(*) filter (where status = 'failed') as failed,
    count(*) filter (where status = 'cancelled') as cancelled,
    count(*) filter (where status = 'started') as running,
    count(*) filter (where waiting) as waiting,
    min(created_at) as created_at,
    min(started_at) as first_started_at,
    case when count(*) = count(completed_at) then max(completed_at) end as completed_at
from wopr.tasks
where flow_id is not null
group by flow_id;

create or replace view wopr.schedule_runs as
select
    schedule,
    scheduled_for,
    id as task_id,
    name,
    category,
    status,
    created_at,
    started_at,
    completed_at,
    wopr.epoch(created_at - scheduled_for) as late_seconds,
    elapsed_seconds as run_seconds,
    error
from wopr.tasks
where schedule is not null;

create or replace view wopr.missed_times as
select schedules.name as schedule, missed.at::timestamp as planned_at
from wopr.schedules
cross join lateral json_array_elements_text(schedules.missed_times::json) as missed (at)
where schedules.missed_times is not null;

create or replace view wopr.failures as
with failed as (
    select
        tasks.name,
        transitions.data::json ->> 'error_type' as error_type,
        coalesce(transitions.error, '') as error,
        coalesce(transitions.data::json ->> 'roots', transitions.error, '') as roots,
        transitions.task_id,
        transitions.occurred_at,
        transitions.to_status = 'failed' as final
    from wopr.transitions
    join wopr.tasks on tasks.id = transitions.task_id
    where transitions.to_status in ('failed', 'retry')
        and transitions.from_status is distinct from 'retry'
),
prints as (
    select
        failed.*,
        regexp_replace(
            regexp_replace(
                regexp_replace(
                    roots,
                    '[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}', '<uuid>', 'g'
                ),
                '0[xX][0-9a-fA-F]+|\y[0-9a-fA-F]*([0-9][a-fA-F]|[a-fA-F][0-9])[0-9a-fA-F]*\y',
                '<hex>', 'g'
            ),
            '[0-9]+', '<n>', 'g'
        ) as fingerprint
    from failed
)
select
    name,
    error_type,
    fingerprint,
    count(*) as failures,
    count(*) filter (where final) as final_failures,
    count(distinct task_id) as tasks,
    min(occurred_at) as first_seen,
    max(occurred_at) as last_seen,
    (array_agg(task_id order by occurred_at desc))[1] as sample_task_id,
    (array_agg(error order by occurred_at desc))[1] as sample_error
from prints
group by name, error_type, fingerprint;
