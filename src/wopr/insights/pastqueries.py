"""What wopr asks about the past: SQL with a name, over the file and the archive.

``$1`` is the moment in all of them, as naive UTC. A task that ended until then and was not touched
since is what its row says; of the others, those that were open then, the transitions up to that
moment say how they stood. They are few, and their ids follow time: so DuckDB reads little of the
log, however long it is.
"""

from __future__ import annotations

from wopr.domain.task import COLUMNS

_OPEN = """
open as materialized (
    select id from tasks where created_at <= $1 and (completed_at is null or completed_at > $1)
)"""
_PLACES = """
places as (  -- where they waited then: what later changes say of before
    select
        task_id,
        arg_min(data ->> '$.before.category', seq)
            filter (contains(data, '"before":{"category"')) as category,
        arg_min((data ->> '$.before.priority')::integer, seq)
            filter (contains(data, '"before":{"priority"')) as priority
    from transitions
    where occurred_at > $1 and from_status in ('pending', 'retry')
        and to_status in ('pending', 'retry') and from_status = to_status
        and task_id in (select id from open)
    group by task_id
)"""
_STATES = """
states as (
    select
        task_id,
        arg_max(to_status, seq) as status,
        arg_max(attempt, seq) as attempt,
        max(seq) as version,
        arg_max(occurred_at, seq) as changed_at,
        arg_max_null(  -- what waits anew has no start and no worker, but for one that snoozes
            case
                when to_status = 'started' then occurred_at
                when contains(data, '"started_at":') then (data ->> '$.started_at')::timestamp
            end,
            seq
        ) filter (to_status in ('started', 'pending')) as started_at,
        arg_max_null(case to_status when 'started' then worker end, seq)
            filter (to_status in ('started', 'pending')) as worker,
        arg_max_null(  -- a retry by hand forgets what was
            case
                when from_status = 'failed' then null
                when to_status in ('failed', 'retry') then error
                else data ->> '$.error'
            end,
            seq
        ) filter (
            from_status = 'failed' or to_status in ('failed', 'retry')
            or (from_status is not null and contains(data, '"error":'))
        ) as error,
        arg_max_null(
            case when from_status is distinct from 'failed' then data ->> '$.error_type' end, seq
        ) filter (
            from_status = 'failed'
            or (from_status is not null and contains(data, '"error_type":'))
        ) as error_type,
        arg_max_null(
            case
                when from_status is distinct from 'failed' then (data ->> '$.run_at')::timestamp
            end,
            seq
        ) filter (from_status = 'failed' or contains(data, '"run_at":')) as run_at,
        arg_max(
            case when from_status = 'failed' then 0 else (data ->> '$.retry_count')::integer end,
            seq
        ) filter (from_status = 'failed' or contains(data, '"retry_count":')) as retry_count,
        arg_max(
            case when from_status = 'failed' then 0 else (data ->> '$.crashes')::integer end,
            seq
        ) filter (from_status = 'failed' or contains(data, '"crashes":')) as crashes,
        arg_max(
            case
                when contains(data, '"waiting":')
                then coalesce((data ->> '$.waiting') = 'true', false)
                else false
            end,
            seq
        ) as waiting
    from transitions
    where occurred_at <= $1 and task_id in (select id from open)
    group by task_id
)"""
_WAS = {
    "status": "states.status",
    "attempt": "states.attempt",
    "version": "states.version",
    "category": "coalesce(places.category, tasks.category)",
    "priority": "coalesce(places.priority, tasks.priority)",
    "retry_count": "coalesce(states.retry_count, 0)",
    "crashes": "coalesce(states.crashes, 0)",
    "run_at": "states.run_at",
    "waiting": "states.waiting",
    "started_at": "states.started_at",
    "worker": "states.worker",
    "error": "states.error",
    "error_type": "states.error_type",
    "completed_at": """case
        when states.status in ('success', 'failed', 'cancelled') then states.changed_at
    end""",
    "elapsed_seconds": "case when false then tasks.elapsed_seconds end",
    "result": "case when false then tasks.result end",
    "progress": "0",
    "progress_message": "''",
    "progress_data": "case when false then tasks.progress_data end",
}
"""What of an open task its row does not say; a null has the type of its column."""
_AS_IT_IS = ", ".join(COLUMNS)
_AS_IT_WAS = ", ".join(f"{_WAS.get(one, f'tasks.{one}')} as {one}" for one in COLUMNS)
_AS_THEN = f"""
    select {_AS_IT_WAS}
    from tasks
    join states on states.task_id = tasks.id
    left join places on places.task_id = tasks.id"""
_OPEN_TASKS = f"""
with {_OPEN}, {_PLACES}, {_STATES},
past as ({_AS_THEN}
)"""
"""Those that waited or ran then, and those that have ended since: no others were live."""
_TASKS = f"""
with {_OPEN}, {_PLACES}, {_STATES},
past as (
    select {_AS_IT_IS} from tasks where created_at <= $1 and completed_at <= $1
    union all{_AS_THEN}
)"""

_STOOD = f"""
with {_OPEN}, {_PLACES},
states as (
    select task_id, arg_max(to_status, seq) as status
    from transitions
    where occurred_at <= $1 and task_id in (select id from open)
    group by task_id
),
stood as (
    select states.status, coalesce(places.category, tasks.category) as category, tasks.name
    from tasks
    join states on states.task_id = tasks.id
    left join places on places.task_id = tasks.id
)
"""

COUNTS = f"""
{_STOOD}
select status, category, count(*)
from (
    select status, category from tasks where created_at <= $1 and completed_at <= $1
    union all
    select status, category from stood
) as told
group by status, category
order by status, category
"""
"""How many tasks had each status and category, at a moment?"""

WAITING = f"""
{_STOOD}
select category, name, count(*) from stood where status in ('pending', 'retry')
group by category, name
"""
"""How many tasks of each category and name waited, at a moment?"""

BACKLOG = f"""
{_OPEN_TASKS}
select
    category,
    count(*) filter (status <> 'started'),
    count(*) filter (
        status <> 'started' and waiting is not true and coalesce(run_at, created_at) <= $1
    ),
    count(*) filter (status = 'started'),
    min(greatest(created_at, run_at)) filter (
        status <> 'started' and waiting is not true and coalesce(run_at, created_at) <= $1
    )
from past
where status in ('pending', 'started', 'retry')
group by category
order by category
"""
"""How many tasks of each category waited, were due and ran at a moment, and since when was the
oldest due?"""

_SELECTED = """
select seq, id
from past as tasks
where true"""
_BESIDES = "    and true\n"
"""Where a condition of people's comes to stand."""
_CONDITIONS = """
    and ($2::varchar[] is null or list_contains($2::varchar[], name))
    and ($3::varchar[] is null or list_contains($3::varchar[], category))
    and ($4::varchar[] is null or list_contains($4::varchar[], status))
    and ($5::timestamp is null or created_at >= $5)
    and ($6::timestamp is null or created_at < $6)
    and ($7::varchar is null or flow_id = $7::uuid)
    and ($8::varchar is null or schedule = $8)
    and ($9::varchar is null or list_contains(json_extract_string(options, '$.tags[*]'), $9))
    and ($10::bigint is null or seq < $10)
    and true
"""
_NEWEST = """
order by seq desc
limit $11
"""
_NARROWLY = r"""
    and ($12::uuid[] is null or id in (select unnest($12::uuid[])))
    and ($13::varchar is null or id in (
        select task_id from (
            select task_id, arg_max(coalesce(data ->> '$.roots', error, ''), seq) as roots
            from transitions
            where occurred_at <= $1 and to_status in ('failed', 'retry')
                and from_status is distinct from 'retry'
            group by task_id
        ) as newest
        where regexp_replace(
            regexp_replace(
                regexp_replace(
                    roots,
                    '[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}', '<uuid>', 'g'
                ),
                '0[xX][0-9a-fA-F]+|\b[0-9a-fA-F]*([0-9][a-fA-F]|[a-fA-F][0-9])[0-9a-fA-F]*\b',
                '<hex>', 'g'
            ),
            '[0-9]+', '<n>', 'g'
        ) = $13
    ))
"""

_PAGE = "order by seq desc limit $11"
SELECTED = f"""{_OPEN_TASKS},
chosen as (  -- of both kinds the newest: of the two together DuckDB would sort all that there are
    (
        select seq from tasks
        where created_at <= $1 and completed_at <= $1{_CONDITIONS}
        {_PAGE}
    )
    union all
    (select seq from past as tasks where true{_CONDITIONS} {_PAGE})
)
select seq, id from tasks where seq in (select seq from chosen) {_PAGE}
"""
"""Which tasks of a selection were there at a moment, the newest first?"""
SELECTED_NARROWLY = _TASKS + _SELECTED + _CONDITIONS + _NARROWLY + _NEWEST
"""And which of those with some ids, or whose newest failure said something, but for numbers?"""


_NOW = """
with past as (  -- of this moment: there is nothing to put together
    select * from tasks where created_at <= $1 and completed_at is null
)"""
_CHOSEN = """,
chosen as (
    select * from past as tasks
    where status in ('pending', 'retry', 'started')"""
_LEFT = """
),
last as (
    select category, min(priority) as priority, max(seq) as seq
    from chosen where status <> 'started' group by category
),
ahead as (
    select past.category, count(*) as tasks
    from past
    join last on last.category = past.category
    where past.status in ('pending', 'retry') and past.waiting is not true
        and coalesce(past.run_at, past.created_at) <= $1
        and (
            past.priority > last.priority
            or (past.priority = last.priority and past.seq < last.seq)
        )
        and past.id not in (select id from chosen)
    group by past.category
)
select
    chosen.category,
    count(*) filter (status <> 'started'),
    count(*) filter (status = 'started'),
    count(*) filter (status <> 'started' and waiting is true),
    max(run_at) filter (status <> 'started' and run_at > $1),
    coalesce(any_value(ahead.tasks), 0),
    list(distinct name) filter (status <> 'started')
from chosen
left join ahead on ahead.category = chosen.category
group by chosen.category
order by chosen.category
limit $11
"""

LEFT = _NOW + _CHOSEN + _CONDITIONS + _LEFT
"""How much of a selection has not ended, what would run before it, and when is the last one due?"""
LEFT_NARROWLY = _NOW + _CHOSEN + _CONDITIONS + _NARROWLY + _LEFT
"""And of those with some ids, or whose newest failure said something, but for numbers?"""


_BEFORE, _BEHIND = "    and (\n", "\n)\n"


def having(question: str, condition: str) -> str:
    """Return one of these questions with a condition of people's besides, over ``tasks``."""
    return question.replace(_BESIDES, f"{_BEFORE}{condition}{_BEHIND}")


def parted(text: str) -> tuple[str, str] | None:
    """Return which of these questions has a condition of people's in a text, and the condition."""
    for question in (SELECTED_NARROWLY, SELECTED, LEFT_NARROWLY, LEFT):
        times = question.count(_BESIDES)
        length = (len(text) - len(having(question, ""))) // times
        begin = question.index(_BESIDES) + len(_BEFORE)
        condition = text[begin : begin + length]
        if length >= 0 and text == having(question, condition):
            return question, condition
    return None


HISTORIES = """
select seq, task_id, attempt, from_status, to_status, occurred_at, worker, reason, error, data
from transitions
where occurred_at <= $1 and task_id in (select unnest($2::uuid[]))
    and task_id between $3::uuid and $4::uuid
order by seq
"""
"""What happened to some tasks until a moment? $3 and $4: the first and the last of them."""

RUNNING = f"""
{_OPEN_TASKS}
select worker, category, id::varchar, name, attempt, started_at
from past
where status = 'started'
order by category, worker
"""
"""What ran at a moment, and on which workers?"""

CLAIMS = """
select
    moves.worker,
    any_value(tasks.category),
    max(moves.occurred_at) filter (moves.to_status = 'started'),
    max(moves.occurred_at)
from transitions as moves
join tasks on tasks.id = moves.task_id
where moves.occurred_at <= $1 and moves.occurred_at > $2 and moves.worker is not null
    and (moves.to_status = 'started' or moves.from_status = 'started')
group by moves.worker
"""
"""When did workers take a task, and end one, between two moments?"""

PAUSING = """
select coalesce(undone.detail, acts.detail), acts.undoes is not null, acts.began_at
from acts
left join acts as undone on undone.number = acts.undoes
where acts.began_at <= $1 and acts.changed > 0
    and coalesce(undone.verb, acts.verb) in ('pause', 'resume')
order by acts.number
"""
"""What was paused and resumed until a moment, and which of that was taken back?"""
