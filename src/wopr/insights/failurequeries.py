"""The questions about what fails, in groups of failures that are alike.

Which rows they are is found out before their texts are read: by a condition for each status, or by
the first number. Of tasks only those in question are read, as they are told twice.
"""

from __future__ import annotations

from wopr.domain.selection import MOST_COMPARED

_PRINTS = r"""
prints as {materialized} (
    select
        tasks.name,
        failed.error_type,
        failed.error,
        failed.task_id,
        failed.occurred_at,
        regexp_replace(
            regexp_replace(
                regexp_replace(
                    failed.roots,
                    '[0-9a-fA-F]{{8}}-([0-9a-fA-F]{{4}}-){{3}}[0-9a-fA-F]{{12}}', '<uuid>', 'g'
                ),
                '0[xX][0-9a-fA-F]+|\b[0-9a-fA-F]*([0-9][a-fA-F]|[a-fA-F][0-9])[0-9a-fA-F]*\b',
                '<hex>', 'g'
            ),
            '[0-9]+', '<n>', 'g'
        ) as fingerprint
    from failed
    join tasks on tasks.id = failed.task_id
    where tasks.id in (select task_id from failed)
)
"""
_FAILED = """
with failed as materialized (
    select
        data ->> '$.error_type' as error_type,
        coalesce(error, '') as error,
        coalesce(
            case when contains(data, '"roots":') then data ->> '$.roots' end, error, ''
        ) as roots,
        task_id,
        occurred_at
    from (
        {moves}
    ) as moves
),
"""
_EACH_STATUS = """
select * from transitions where to_status = 'failed' and occurred_at >= $1
union all
select * from transitions where to_status = 'retry' and occurred_at >= $1
"""
_WITHIN = "to_status in ('failed', 'retry') and occurred_at >= $1 and occurred_at < $2"
_NEWEST = f"""
select * from transitions where {_WITHIN} and seq >= (
    select min(seq) from (
        select seq from transitions where {_WITHIN} order by seq desc limit {MOST_COMPARED}
    ) as newest
)
"""
FAILING = (
    _FAILED.format(moves=_EACH_STATUS)
    + _PRINTS.format(materialized="materialized")
    + """
select
    name,
    error_type,
    fingerprint,
    count(*) filter (occurred_at >= $2),
    count(*) filter (occurred_at < $2),
    min(occurred_at) filter (occurred_at >= $2),
    arg_max(task_id, occurred_at)::varchar,
    arg_max(error, occurred_at)[:500]
from prints
where name in (select name from prints where occurred_at >= $2)
group by name, error_type, fingerprint
having count(*) filter (occurred_at >= $2) > 0
order by 4 desc, name, fingerprint
limit $3
"""
)
"""What failed from the second moment on, in groups as those of the view ``failures``, and how often
between the two moments?"""

FAILED_BEFORE = (
    _FAILED.format(moves=_NEWEST)
    + _PRINTS.format(materialized="")
    + """
select
    name,
    error_type,
    fingerprint,
    count(*),
    (select count(*) from failed),
    (select min(occurred_at) from failed)
from prints
group by name, error_type, fingerprint
order by 4 desc, name, fingerprint
limit $3
"""
)
"""How often did what fail between two moments, in the same groups? Of the newest failures, whose
number and begin are told, too."""
