"""The statements that add tasks: to what may be there, in bulk, and one."""

from __future__ import annotations

from wopr.storage.postgres.statements import TYPES, given

ADDED = (
    *("id", "name", "category", "priority", "max_retries", "args", "kwargs", "options"),
    *("unique_key", "run_at", "created_at", "waiting", "depends_on", "flow_id", "schedule"),
    *("scheduled_for", "data"),
)
"""What comes with a new task; the last is the data of its first transition."""

_READY = "case when run_at <= created_at then run_at end"
_NEW = ", ".join(column for column in ADDED if column != "data")

ADD = f"""
with numbered as (
    select nextval('wopr.numbers') as seq, given.*
    from (select * from {given(ADDED)} order by at) as given
),
added as (
    insert into wopr.tasks (seq, version, ready_at, {_NEW})
    select seq, seq, {_READY}, {_NEW} from numbered
    on conflict do nothing
    returning id, seq
),
noted as (
    insert into wopr.transitions (seq, task_id, attempt, to_status, occurred_at, reason, data)
    select added.seq, added.id, 0, 'pending', numbered.created_at, 'add', numbered.data
    from added join numbered using (id)
)
select id::text, seq from added
"""
"""Adds tasks, but those whose id, or unique key, there is already; tells which were added."""

ALIKE = (
    *("name", "category", "priority", "max_retries", "args", "kwargs", "created_at", "waiting"),
    *("head", "tail"),
)
"""What no new task lacks; where all have the same, it is sent once."""
NEW = (*ADDED[:-1], "head", "tail")
"""What comes with tasks that are new for sure; the last two are around the arguments."""
_FIRST = ", ".join(f"(%({one})s::text::{TYPES.get(one, 'text')}[])[1] as {one}_1" for one in ALIKE)
_EACH = ", ".join(
    f"coalesce({one}, {one}_1) as {one}" if one in ALIKE else one for one in (*NEW, "at")
)
ADD_NEW = f"""
with first as materialized (select {_FIRST}),
given as materialized (
    select nextval('wopr.numbers') as seq, {_EACH}
    from (select * from {given(NEW)} order by at) as given, first
),
added as (
    insert into wopr.tasks (seq, version, ready_at, {_NEW})
    select seq, seq, {_READY}, {_NEW} from given
),
noted as (
    insert into wopr.transitions (seq, task_id, attempt, to_status, occurred_at, reason, data)
    select seq, id, 0, 'pending', created_at, 'add',
        head || '"args":' || args || ',"kwargs":' || kwargs || tail
    from given
)
select string_agg(seq::text, ',' order by at) from given
"""
"""Adds tasks of which none is there, by its id, and none has a unique key; tells their numbers.

It asks no index before it writes to it, which halves what the server does.
"""

_READY_ONCE = """case when %(run_at)s::timestamp <= %(created_at)s::timestamp
        then %(run_at)s::timestamp end"""
SAID_ONCE = ("name", "category", "priority", "max_retries", "options", "run_at", "created_at")
ADD_ALIKE = f"""
with given as materialized (
    select nextval('wopr.numbers') as seq, id, args, coalesce(kwargs, %(kwargs_1)s::text) as kwargs
    from unnest(%(ids)s::text::uuid[], %(args)s::text::text[], %(kwargs)s::text::text[])
        as given (id, args, kwargs)
),
added as (
    insert into wopr.tasks
        (seq, version, waiting, ready_at, id, args, kwargs, {", ".join(SAID_ONCE)})
    select seq, seq, false, {_READY_ONCE}, id, args, kwargs,
        {", ".join(f"%({one})s::{TYPES.get(one, 'text')}" for one in SAID_ONCE)}
    from given
),
noted as (
    insert into wopr.transitions (seq, task_id, attempt, to_status, occurred_at, reason, data)
    select seq, id, 0, 'pending', %(created_at)s::timestamp, 'add',
        %(head)s::text || '"args":' || args || ',"kwargs":' || kwargs || %(tail)s::text
    from given
)
select string_agg(seq::text, ',' order by seq) from given
"""
"""The same for tasks that have nothing but their arguments apart: what a call in bulk makes.

They are numbered in the order of the arrays, and what they share is sent once.
"""

_PLAIN = (
    *("id", "name", "category", "priority", "max_retries", "args", "kwargs", "options", "run_at"),
    "created_at",
)
SELDOM = ("unique_key", "waiting", "depends_on", "flow_id", "schedule", "scheduled_for")
"""What few tasks have."""
ADD_ONE = f"""
with given as (select nextval('wopr.numbers') as seq),
added as (
    insert into wopr.tasks (seq, version, waiting, ready_at, {", ".join(_PLAIN)})
    select seq, seq, false, {_READY_ONCE},
        {", ".join(f"%({one})s::{TYPES.get(one, 'text')}" for one in _PLAIN)}
    from given
),
noted as (
    insert into wopr.transitions (seq, task_id, attempt, to_status, occurred_at, reason, data)
    select seq, %(id)s::uuid, 0, 'pending', %(created_at)s::timestamp, 'add', %(data)s
    from given
)
select seq::text from given
"""
"""The same for one task that has nothing of ``SELDOM``; the server does it in half the time."""
