"""What the queue would have done: the SQL of what arrived once, one constant each."""

from __future__ import annotations

RUNS_SINCE = """
with moves as (
    select
        task_id,
        to_status,
        occurred_at,
        seq,
        lag(occurred_at) over in_order as before,
        lag(try_cast(data ->> '$.run_at' as timestamp)) over in_order as run_at,
        lead(occurred_at) over in_order as ended_at
    from transitions
    where occurred_at >= $1
    window in_order as (partition by task_id order by seq)
),
parents as (
    select edges.task_id, max(ended.completed_at) as ended_at
    from dependencies as edges
    join tasks as ended on ended.id = edges.parent_id
    where ended.completed_at >= $1
    group by edges.task_id
)
select
    tasks.category,
    tasks.name,
    tasks.priority,
    epoch(greatest(
        coalesce(moves.before, $1),
        moves.run_at,
        case when parents.ended_at <= moves.occurred_at then parents.ended_at end
    ) - $1) as ready,
    epoch(moves.occurred_at - $1) as started,
    epoch(coalesce(moves.ended_at, $2) - moves.occurred_at) as seconds
from moves
join tasks on tasks.id = moves.task_id
left join parents on parents.task_id = moves.task_id
where moves.to_status = 'started' and moves.occurred_at < $2
order by ready, moves.seq
limit $3
"""
"""Which tasks started between two moments, since when could they have, and how long did they run?

$1, $2: the moments. $3: so many at most. A task that waited before counts from the first moment on.
"""
