-- The tables of a queue that many hosts share.
create schema if not exists wopr;

create sequence wopr.numbers;

create function wopr.epoch(span interval) returns double precision
language sql immutable parallel safe
as $$ select extract(epoch from span)::double precision $$;

create function wopr.contains(whole text, part text) returns boolean
language sql immutable parallel safe
as $$ select position(part in whole) > 0 $$;

create function wopr.kept_until(ended timestamp, options text) returns timestamp
language sql immutable parallel safe
as $$
    select case when options like '%"retain"%' then case
        when (options::json ->> 'retain') ~ '^[0-9.]{1,20}(e[+-][0-9]{1,2})?$'
        then case when (options::json ->> 'retain')::double precision <= 1e10
            then ended + make_interval(secs => (options::json ->> 'retain')::double precision) end
    end end
$$;

create function wopr.one_more(counts jsonb, value integer) returns jsonb
language sql immutable parallel safe
as $$
    select case when value is null then counts else counts || jsonb_build_object(
        value::text, coalesce((counts ->> value::text)::bigint, 0) + 1
    ) end
$$;

create aggregate wopr.histogram(integer) (
    sfunc = wopr.one_more, stype = jsonb, initcond = '{}'
);

create table wopr.tasks (
    id uuid primary key,
    seq bigint not null unique,
    name text not null,
    category text not null,
    priority integer not null,
    status text not null default 'pending',
    attempt integer not null default 0,
    retry_count integer not null default 0,
    max_retries integer not null,
    crashes integer not null default 0,
    args text not null,
    kwargs text not null,
    options text,
    unique_key text,
    run_at timestamp,
    created_at timestamp not null,
    started_at timestamp,
    completed_at timestamp,
    elapsed_seconds double precision,
    worker text,
    result text,
    error text,
    error_type text,
    progress double precision not null default 0,
    progress_message text not null default '',
    version bigint not null,
    waiting boolean default false,
    depends_on text,
    flow_id uuid,
    schedule text,
    scheduled_for timestamp,
    progress_data text,
    owner bigint,
    awaited boolean not null default false,
    place bigint not null generated always as (
        case
            when options like '%"at_front":true%' or options like '%"at_front": true%' then -seq
            else seq
        end
    ) stored
)
with (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02);

create index tasks_ready on wopr.tasks (category, priority desc, place)
where status in ('pending', 'retry') and waiting is not true;

create index tasks_due on wopr.tasks (category, run_at)
where status in ('pending', 'retry') and waiting is not true and run_at is not null;

create index tasks_expiring on wopr.tasks (category)
where status in ('pending', 'retry') and waiting is not true and options like '%"expires"%';

create unique index tasks_unique_key on wopr.tasks (unique_key)
where unique_key is not null and status in ('pending', 'started', 'retry');

create index tasks_started on wopr.tasks (category, owner) where status = 'started';

create index tasks_flow on wopr.tasks (flow_id) where flow_id is not null;

create index tasks_schedule on wopr.tasks (schedule, seq) where schedule is not null;

create index tasks_ended on wopr.tasks (completed_at) where completed_at is not null;

create index tasks_waiting on wopr.tasks (seq)
where waiting and status in ('pending', 'retry');

create index tasks_depending on wopr.tasks (seq)
where depends_on is not null and status in ('pending', 'started', 'retry');

create index tasks_retained on wopr.tasks (wopr.kept_until(completed_at, options))
where options like '%"retain"%' and status in ('success', 'failed', 'cancelled');

create index tasks_planned on wopr.tasks (schedule, scheduled_for)
where scheduled_for is not null;

create table wopr.awaits (
    parent_id uuid not null,
    child_id uuid not null,
    primary key (parent_id, child_id)
);

create index awaits_child on wopr.awaits (child_id);

create table wopr.transitions (
    seq bigint primary key,
    task_id uuid not null,
    attempt integer not null,
    from_status text,
    to_status text not null,
    occurred_at timestamp not null,
    worker text,
    reason text not null,
    error text,
    data text
);

create index transitions_task on wopr.transitions (task_id, seq);

create index transitions_act on wopr.transitions (seq) where data like '%"act":%';

create index transitions_time on wopr.transitions using brin (occurred_at);

create table wopr.schedules (
    name text primary key,
    task text not null,
    category text not null,
    priority integer not null,
    max_retries integer not null,
    args text not null,
    kwargs text not null,
    options text,
    trigger text not null,
    misfire text not null,
    misfire_limit integer not null,
    misfire_grace double precision not null,
    overlap text not null,
    jitter double precision not null,
    start_at timestamp,
    end_at timestamp,
    run_on_start boolean not null,
    depends_on text,
    run_as text,
    origin text not null,
    paused_at timestamp,
    paused_reason text,
    next_fire_at timestamp,
    last_fire_at timestamp,
    last_task_id uuid,
    missed bigint not null,
    skipped bigint not null,
    created_at timestamp not null,
    updated_at timestamp not null,
    max_running integer,
    missed_times text
);

create table wopr.rules (
    kind text not null,
    name text not null,
    value text not null,
    updated_at timestamp not null,
    primary key (kind, name)
);

create table wopr.acts (
    number bigint primary key,
    verb text not null,
    who text not null,
    origin text not null,
    began_at timestamp not null,
    ended_at timestamp,
    selection text not null,
    detail text not null,
    reason text not null,
    changed bigint not null,
    first_seq bigint not null,
    last_seq bigint not null,
    undoes bigint
);

create table wopr.task_logs (
    task_id uuid not null,
    attempt integer not null,
    number integer not null,
    logged_at timestamp not null,
    level text not null,
    logger text not null,
    message text not null,
    primary key (task_id, attempt, number)
);

create table wopr.results (
    seq bigint not null,
    task_id uuid not null,
    result text not null
);

comment on table wopr.results is 'Always empty: large results are in tasks, too.';

create table wopr.refused_records (
    position bigint not null,
    record text not null,
    error text not null,
    refused_at timestamp not null
);

comment on table wopr.refused_records is 'Always empty: there is no journal.';

create table wopr.owners (
    id bigint primary key default nextval('wopr.numbers'),
    host text not null,
    pid integer not null,
    began_at timestamptz not null default clock_timestamp(),
    seen_at timestamptz not null default clock_timestamp(),
    lease_until timestamptz not null,
    slots text not null default '{}'
);

create table wopr.meta (
    key text primary key,
    value text not null
);

insert into wopr.meta (key, value) values ('rules', '0');
