"""The SQL of every question that wopr itself asks, one constant each.

It stands here and nowhere else above the storages, so that another dialect has one file to
look at. What the constants ask are the tables and views that users can ask too
(:meth:`wopr.TaskQueue.sql`); ``?`` and ``$1`` are parameters.
"""

from __future__ import annotations

from wopr.domain.retaining import RETAIN
from wopr.domain.status import TERMINAL

# -- flows --------------------------------------------------------------------

FLOWS = "select * from flows order by created_at desc, flow_id desc limit ?"
"""Which flows are there, and how far is each? The newest so many."""

_BEGINNING = """
select distinct {column}::varchar as id from tasks
where {column} between ?::uuid and ?::uuid order by 1 limit ?
"""
TASKS_BEGINNING = _BEGINNING.format(column="id")
"""Which tasks have an id between these? So many at most."""

FLOWS_BEGINNING = _BEGINNING.format(column="flow_id")
"""Which flows have one?"""

_ALIKE = """
with near as (
    select distinct {column}::varchar as id from tasks where {column} between ?::uuid and ?::uuid
)
select
    count(*) filter (left(id, 13) in (select unnest(?::varchar[]))) as by_13,
    count(*) filter (left(id, 18) in (select unnest(?::varchar[]))) as by_18,
    count(*) filter (left(id, 23) in (select unnest(?::varchar[]))) as by_23
from near
"""
TASKS_ALIKE = _ALIKE.format(column="id")
"""How many tasks between two ids have one that begins with one of these, of each length?"""

FLOWS_ALIKE = _ALIKE.format(column="flow_id")
"""How many flows have one?"""

FLOW_TIMES = """
select
    min(created_at) as created_at,
    min(started_at) as first_started_at,
    case when count(*) = count(completed_at) then max(completed_at) end as completed_at
from tasks
where flow_id = ?::uuid and seq >= ?
having count(*) > 0
"""
"""When was this flow enqueued, when did its first task start, when did its last one end? Of its
tasks from a number on."""

FLOW_MEMBERS = """
select seq, id::varchar as id, name, status, attempt, waiting, completed_at, depends_on, options
from tasks where flow_id = ?::uuid and seq > ? order by seq
"""
"""Which tasks has this flow, from a number on, without their payloads? Parents come first."""

FLOW_STANDING = """
select
    count(*),
    count(*) filter (status in ('success', 'failed', 'cancelled')),
    count(*) filter (status = 'started'),
    count(*) filter (status in ('pending', 'retry')),
    count(*) filter (
        status in ('pending', 'retry') and waiting is not true
        and coalesce(run_at, created_at) <= $3
    ),
    count(*) filter (status = 'failed'),
    list(id::varchar order by seq) filter (
        status in ('pending', 'retry', 'started') and waiting is not true
    )[:$2]
from tasks where flow_id = $1::uuid
"""
"""How far is this flow, and which of its tasks do not wait for others?"""

# -- what waits ---------------------------------------------------------------
#
# What waits or runs has not ended, which is said besides: whole stretches of a large table have no
# row of which that is true, and are not read then.

BACKLOG = """
select category, priority, status, tasks, due, oldest_age_seconds
from backlog order by category, priority desc, status
"""
"""What waits in each category and priority, and since when?"""

LIVE_BY_CATEGORY = """
with live as (
    select
        category,
        status = 'started' as running,
        coalesce(
            status <> 'started' and waiting is not true and coalesce(run_at, created_at) <= $1,
            false
        ) as due,
        case when depends_on is null then greatest(created_at, run_at) end as since
    from tasks
    where completed_at is null and status in ('pending', 'started', 'retry')
)
select
    category,
    count(*) filter (not running),
    count(*) filter (due),
    count(*) filter (running),
    coalesce(epoch(max($1 - since) filter (due)), 0)
from live
group by category
order by category
"""
"""How many tasks of each category wait, are due and run at a moment, and how long is the oldest
due? Seconds count for tasks that depend on no others."""

DUE_BY_CATEGORY = """
select category, count(*) as tasks, min(coalesce(run_at, created_at)) as oldest
from tasks
where completed_at is null and status in ('pending', 'retry') and waiting is not true
    and coalesce(run_at, created_at) <= ?
group by category
order by category
"""
"""How many tasks of each category are due at a moment, and since when is the oldest?"""

LIVE_BY_NAME = """
with live as (
    select
        category,
        name,
        status = 'started' as running,
        coalesce(
            status <> 'started' and waiting is not true and coalesce(run_at, created_at) <= $1,
            false
        ) as due,
        greatest(created_at, run_at) as since
    from tasks
    where completed_at is null and status in ('pending', 'started', 'retry')
)
select
    category,
    name,
    count(*) filter (not running),
    count(*) filter (due),
    count(*) filter (running),
    min(since) filter (due)
from live
group by category, name
order by count(*) filter (due) desc, category, name
limit $2
"""
"""How many tasks of each category and name wait, are due and run at a moment; since when is the
oldest due? Those with the most due, so many."""

USUAL_WAITS = """
select
    category,
    quantile_cont(epoch(started_at - greatest(created_at, run_at)), 0.99),
    count(*)
from tasks
where started_at >= $1 and started_at < $2 and extract('hour' from started_at) = $3
    and attempt = 1 and depends_on is null
group by category
"""
"""How long did 99 of 100 tasks of each category wait that started in an hour of the day, in the
days between two moments?"""

RUNNING = """
select
    id::varchar as id, name, category, status, attempt, created_at, started_at, progress,
    progress_message
from tasks
where completed_at is null and status = 'started'
order by started_at, seq
limit ?
"""
"""Which tasks run, those first that have run for longest? So many."""

ENDED_SINCE = """
select
    tasks.category,
    count(*) filter (moves.to_status = 'success') as done,
    count(*) filter (moves.to_status in ('failed', 'retry') and moves.error is not null) as failed
from transitions as moves
join tasks on tasks.id = moves.task_id
where moves.occurred_at >= ? and moves.from_status = 'started'
group by tasks.category
"""
"""How many attempts of each category succeeded, and failed, since a moment?"""

TASKS_HOLDING = """
select
    id::varchar as id, name, category, status, attempt, created_at, started_at, progress,
    left(error, 500) as error
from tasks
where ($1 = '' or status = $1)
    and ($2 = '' or contains(lower(name), $2) or contains(lower(category), $2)
        or starts_with(id::varchar, $2))
order by seq desc
limit $3
"""
"""Which tasks, of one status or of all, have a text in their name or category, or at the begin of
their id? The newest so many."""

# -- what there is ------------------------------------------------------------

CATEGORIES = "select distinct category as value from tasks"
"""Which categories have tasks?"""

NAMES = "select distinct name as value from tasks"
"""Which names do tasks have?"""

MISSED_OCCURRENCES = "select name, missed from schedules order by created_at, name"
"""How many planned times did each schedule leave out because they were late?"""

# -- what was -----------------------------------------------------------------

_TERMINAL = ", ".join(f"'{status.value}'" for status in sorted(TERMINAL))

_KEPT = f"try_cast(case when json_valid(options) then options ->> '$.{RETAIN}' end as double)"
ENDED_BEFORE = f"""
select count(*) from main.tasks
where status in ({_TERMINAL}) and completed_at <= $1 and coalesce(
    completed_at + to_seconds(case when {_KEPT} between 0 and 1e10 then {_KEPT} end) <= $1, true)
"""
"""How many tasks of the file, without the archive, ended at a moment or before it, and don't say
themselves that they are kept longer?"""

REFUSED_RECORDS = "select count(*) from refused_records"
"""How many records of the journal could not be brought into the tables?"""

FIRST_TRANSITION = "select min(occurred_at) from transitions"
"""Since when is there a history?"""

SCHEDULED_SINCE = """
select tasks.schedule, tasks.scheduled_for
from tasks
join (select unnest($1::varchar[]) as name, unnest($2::timestamp[]) as since) as asked
    on tasks.schedule = asked.name and tasks.scheduled_for >= asked.since
"""
"""For which planned times of some schedules are there tasks, each from a moment on?"""

GONE_UNTIL = """
select max(cast(selection ->> '$."completed until"' as timestamp))
from acts
where verb in ('cleanup', 'archive', 'retire')
"""
"""Until when may tasks that have ended be gone?"""

NEWEST_TRANSITION = "select coalesce(max(seq), 0) from transitions"
"""What is the number of the newest transition? 0: there is none."""

TRANSITIONS_SINCE = """
with moves as (
    select * from transitions where seq > $1 and seq <= $2 order by seq limit $3
)
select
    moves.seq,
    moves.task_id::varchar,
    coalesce(tasks.name, moves.data ->> '$.name'),
    coalesce(tasks.category, moves.data ->> '$.category'),
    moves.from_status,
    moves.to_status,
    moves.attempt,
    moves.occurred_at,
    moves.worker,
    moves.reason,
    moves.error[:500]
from moves
left join tasks on tasks.id = moves.task_id
    and tasks.id in (select unnest(list(task_id)) from moves)
order by moves.seq
"""
"""What happened to tasks between the transitions of two numbers, in order? So many at most."""

HISTORY_IN_NUMBERS = """
with adds as (  -- of a slice of tasks; the log knows names that a cleanup has deleted
    select
        moves.task_id,
        moves.seq,
        coalesce(tasks.name, data ->> '$.name') as name,
        coalesce(tasks.category, data ->> '$.category') as category,
        case
            when contains(data, '"depends_on":') and data ->> '$.depends_on' is not null then null
            when contains(data, '"run_at":')
            then greatest(occurred_at, (data ->> '$.run_at')::timestamp)
            else occurred_at
        end as due_at
    from transitions as moves
    left join tasks on tasks.id = moves.task_id
    where from_status is null and moves.seq > $1 and moves.seq <= $2 and reason <> 'save_task'
),
told as (
    select
        adds.name,
        adds.category,
        adds.seq,
        adds.due_at,
        moves.task_id,
        moves.attempt,
        moves.occurred_at,
        moves.reason,
        coalesce(from_status = 'started', false) as ran,
        case
            when from_status is null then 'enqueued'
            when to_status = 'started' then 'started'
            when to_status = 'success' then 'succeeded'
            when from_status = 'retry' and to_status = 'retry' then null  -- changed by hand
            when to_status = 'retry' then 'retrying'
            when to_status in ('failed', 'cancelled') then to_status
            when from_status = 'failed' then 'renewed'
            when from_status = 'started' and reason = 'worker lost' then 'recovered'
            when from_status = 'started' and starts_with(reason, 'snoozed') then null
            when from_status = 'started' then 'interrupted'
        end as event
    from transitions as moves
    join adds on adds.task_id = moves.task_id
    where moves.seq > $1 and moves.seq <= $3 and reason <> 'save_task'
),
timed as (
    select
        *,
        epoch(case
            when event = 'started' then case when attempt = 1 then occurred_at - due_at end
            when ran and event not in ('interrupted', 'recovered') and reason <> 'crash loop'
            then occurred_at - max(case when event = 'started' then occurred_at end)
                over (partition by task_id, attempt)
        end) as seconds
    from told
)
select
    name,
    category,
    event,
    ran,
    count(*),
    histogram(case when seconds < 0 then 0 else seconds end, $4::double[]),
    sum(case when seconds < 0 then 0 else seconds end)
from timed
where event is not null and name is not null
group by name, category, event, ran
order by min(seq)
"""
"""What happened to the tasks of each name and category, how often, and how long did it take?

$1, $2: the slice, by the number of a task's first transition. $3: the newest to count.
$4: the upper bounds of the histogram.
"""
