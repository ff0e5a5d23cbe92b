"""The statements, one per verb. ``%(…)s`` are values; nothing else is put into a text."""

from __future__ import annotations

from wopr.domain.task import COLUMNS, MUTABLE_COLUMNS

_CLAIMABLE = "status in ('pending', 'retry')"
FREE = _FREE = f"{_CLAIMABLE} and waiting is not true"
PROMPT = f"{FREE} and (run_at is null or run_at = ready_at)"
"""What stands in the order in which tasks start, as the index of them says it."""
LATER = f"{FREE} and run_at is not null and run_at is distinct from ready_at"
"""What is not found among those yet, also when its time has come."""
_LIVE = "status in ('pending', 'started', 'retry')"
TYPES = {
    "id": "uuid",
    "attempt": "int",
    "retry_count": "int",
    "crashes": "int",
    "run_at": "timestamp",
    "started_at": "timestamp",
    "completed_at": "timestamp",
    "elapsed_seconds": "float8",
    "progress": "float8",
    "waiting": "boolean",
    "priority": "int",
    "max_retries": "int",
    "created_at": "timestamp",
    "flow_id": "uuid",
    "scheduled_for": "timestamp",
    "expected": "bigint",
}

_STAYS = """not exists (select from wopr.meta
                where key = 'leaving' and value::timestamptz > clock_timestamp())"""
"""Whether the queue is not just about to move away."""

TASK = ", ".join(f"tasks.{column}" for column in COLUMNS)

CHANGED = (
    *(column for column in MUTABLE_COLUMNS if column != "version"),
    *("priority", "category", "expected"),
    *("from_status", "occurred_at", "by", "reason", "told", "data"),
)
"""What comes with a change: the row as it is then, the version before, and the transition."""


def given(columns: tuple[str, ...]) -> str:
    """Return rows whose columns come as arrays, in the text of one each; ``at`` counts them."""
    arrays = ", ".join(
        f"%({one})s::text::{'timestamp' if one == 'occurred_at' else TYPES.get(one, 'text')}[]"
        for one in columns
    )
    return f"unnest({arrays}) with ordinality as given ({', '.join(columns)}, at)"


_SET = ", ".join(
    f"{column} = given.{column}"
    for column in (*MUTABLE_COLUMNS, "priority", "category")
    if column not in {"id", "version"}
)
_SET += ", ready_at = case when given.run_at <= given.occurred_at then given.run_at end"

CHANGE = f"""
with given as (select * from {given(CHANGED)}),
changed as (
    update wopr.tasks set {_SET}, version = nextval('wopr.numbers')
    from given
    where tasks.id = given.id and tasks.version = given.expected
        and (not tasks.awaited or given.status in ('pending', 'started', 'retry') or %(whole)s)
    returning tasks.id, tasks.version, tasks.awaited
),
noted as (
    insert into wopr.transitions
        (seq, task_id, attempt, from_status, to_status, occurred_at, worker, reason, error, data)
    select changed.version, given.id, given.attempt, given.from_status, given.status,
        given.occurred_at, given.by, given.reason, given.told, given.data
    from changed join given using (id)
)
select id::text, version, awaited from changed
"""
"""Changes tasks that are still as they were read, and notes it; tells which.

Without ``whole`` it leaves those alone that others wait for and that end by it.
"""

SUCCEED = """
with given as (
    select * from unnest(%(ids)s::text::uuid[], %(expected)s::text::bigint[],
        %(times)s::text::timestamp[], %(results)s::text::text[]) as given (id, expected, at, result)
),
changed as (
    update wopr.tasks set status = 'success', completed_at = given.at,
        elapsed_seconds = wopr.epoch(given.at - started_at), result = given.result, error = null,
        error_type = null, progress = 100, progress_message = '', progress_data = null,
        version = nextval('wopr.numbers')
    from given
    where tasks.id = given.id and tasks.version = given.expected and not tasks.awaited
    returning tasks.id, tasks.version, tasks.attempt, tasks.worker, given.at, given.result
),
noted as (
    insert into wopr.transitions
        (seq, task_id, attempt, from_status, to_status, occurred_at, worker, reason, data)
    select version, id, attempt, 'started', 'success', at, worker, 'succeed',
        '{"result":' || result || '}'
    from changed
)
select id::text, version, false from changed
"""
"""Does what CHANGE does for tasks that succeeded and for which nobody waits.

Most end so. Little comes with them: that a task is as it was read says what it was.
"""

MADE = """
select given.id::text, transitions.seq
from unnest(%(ids)s::uuid[], %(versions)s::bigint[], %(statuses)s::text[], %(times)s::timestamp[],
    %(reasons)s::text[]) as given (id, version, status, at, reason)
join wopr.transitions on task_id = given.id and seq > given.version and to_status = given.status
    and occurred_at = given.at and transitions.reason = given.reason
"""
"""Which changes were made: their moment, to the microsecond, tells them from those of others."""

PROMOTE = f"""
with due as (
    select id from wopr.tasks
    where category = %(category)s and {LATER} and run_at <= %(now)s and {_STAYS}
    order by priority desc, place limit %(most)s for update skip locked
),
changed as (
    update wopr.tasks set ready_at = run_at from due where tasks.id = due.id
    returning priority, place
),
last as (select priority, place from changed order by priority, place desc limit 1)
select (select count(*) from changed), (select priority from last), (select place from last)
"""
"""Has tasks whose time has come stand in the order, the first of them; how many, up to which."""

CLAIM = f"""
with late as materialized (
    select coalesce((select run_at from wopr.tasks where category = %(category)s and {LATER}
        and run_at > %(since)s order by run_at limit 1) <= %(now)s, false) as any
),
due as (
    select id, status as from_status, row_number() over () as at
    from (
        select id, status, priority, place from wopr.tasks
        where category = %(category)s and {PROMPT}
            and (run_at is null or run_at <= %(now)s) and not (select late.any from late)
            and name = any(%(names)s::text[])
            and (options is null or options not like '%%"expires"%%'
                or (options::json ->> 'expires')::timestamp >= %(now)s)
            and exists (select from wopr.owners
                where owners.id = %(owner)s and lease_until > clock_timestamp())
            and exists (select from wopr.meta where key = 'rules' and value = %(rules)s)
            and {_STAYS}
            and not exists (select from wopr.rules where kind = 'pause'
                and rules.name in ('category ' || tasks.category, 'task ' || tasks.name))
        order by priority desc, place
        limit %(most)s
        for update skip locked
    ) as free
    where priority > %(priority)s or (priority = %(priority)s and place <= %(place)s)
),
started as (
    update wopr.tasks set status = 'started', attempt = attempt + 1,
        started_at = greatest(%(now)s, created_at), completed_at = null,
        worker = (%(workers)s::text[])[due.at], owner = %(owner)s, waiting = false,
        progress = 0, progress_message = '', progress_data = null,
        version = nextval('wopr.numbers')
    from due where tasks.id = due.id
    returning {TASK}, due.from_status, due.at
),
noted as (
    insert into wopr.transitions
        (seq, task_id, attempt, from_status, to_status, occurred_at, worker, reason)
    select version, id, attempt, from_status, 'started', started_at, worker, 'claim' from started
)
select {", ".join(COLUMNS)}, from_status, late.any
from late left join started on true order by at
"""
"""Gives the next due tasks of a category to free workers, a row of the history each.

It gives none, and says so in the last column of its one row, while there are some that became due
after ``since`` and do not stand in the order; and none behind the one up to which it is known.
"""

TOUCH = """
update wopr.tasks set progress = given.progress, progress_message = given.message,
    progress_data = given.data
from unnest(%(ids)s::uuid[], %(attempts)s::int[], %(progress)s::float8[], %(messages)s::text[],
    %(data)s::text[]) as given (id, attempt, progress, message, data)
where tasks.id = given.id and tasks.status = 'started' and tasks.attempt = given.attempt
"""

GET = f"select {TASK} from wopr.tasks where id = any(%(ids)s::uuid[])"
LOCKED = f"{GET} order by id for update"

HOLDER = f"""
select id::text from wopr.tasks where unique_key = %(key)s and {_LIVE}
"""

STANDING = "select id::text, status from wopr.tasks where id = any(%(ids)s::uuid[])"

PARENTS = f"""
update wopr.tasks set awaited = true where id in (
    select id from wopr.tasks where id = any(%(ids)s::uuid[]) and {_LIVE} order by id for update
)
returning id::text
"""
"""Has those parents, as far as they live, let go of their children when they end."""

AWAIT = """
insert into wopr.awaits (parent_id, child_id)
select * from unnest(%(parents)s::uuid[], %(children)s::uuid[]) on conflict do nothing
"""
FREED = "delete from wopr.awaits where parent_id = any(%(ids)s::uuid[]) returning child_id::text"
GIVEN_UP = "delete from wopr.awaits where child_id = any(%(ids)s::uuid[])"
AWAITED = """
select child_id::text, count(*) from wopr.awaits
where child_id = any(%(ids)s::uuid[]) group by child_id
"""

ENDED = f"""
select {TASK} from wopr.tasks where id = any(%(ids)s::uuid[])
and status in ('success', 'failed', 'cancelled')
"""

COUNTS = "select category, status, count(*) from wopr.tasks group by category, status"

HISTORY = """
select seq, task_id::text, attempt, from_status, to_status, occurred_at, worker, reason, error,
    data
from wopr.transitions where task_id = %(id)s order by seq
"""

LOGS = """
select task_id::text, attempt, number, logged_at, level, logger, message from wopr.task_logs
where task_id = %(id)s order by attempt, number limit %(limit)s
"""

SAVE_LOGS = """
insert into wopr.task_logs (task_id, attempt, number, logged_at, level, logger, message)
select * from unnest(%(ids)s::uuid[], %(attempts)s::int[], %(numbers)s::int[],
    %(times)s::timestamp[], %(levels)s::text[], %(loggers)s::text[], %(messages)s::text[])
    as given (task_id, attempt, number, logged_at, level, logger, message)
where exists (select from wopr.tasks where tasks.id = given.task_id)
on conflict do nothing
"""
"""Stores lines, but those of tasks that are gone, and those that are there."""

LIVE_OF = f"""
select {TASK} from wopr.tasks where name = %(name)s and {_LIVE} and seq > %(after)s
order by seq limit %(limit)s
"""

RULES = """
select null as kind, value as name, null as value, null as updated_at
from wopr.meta where key = 'rules'
union all
select kind, name, value, updated_at from wopr.rules
order by kind nulls first, name
"""
"""First the number of their newest change, then all rules."""
RULES_CHANGED = """
update wopr.meta set value = (value::bigint + 1)::text where key = 'rules'
"""
_AS_KNOWN = f"exists (select from wopr.meta where key = 'rules' and value = %(rules)s) and {_STAYS}"
"""Whether a host knows the rules as they are now."""
SAVE_RULE = """
insert into wopr.rules (kind, name, value, updated_at)
values (%(kind)s, %(name)s, %(value)s, %(updated_at)s)
on conflict (kind, name) do update set value = excluded.value, updated_at = excluded.updated_at
"""
DELETE_RULES = """
delete from wopr.rules where kind = %(kind)s and name = any(%(names)s::text[])
returning kind, name, value, updated_at
"""
LOCK_RULES = "lock table wopr.rules in share row exclusive mode"

REGISTER = """
insert into wopr.owners (host, pid, lease_until)
values (%(host)s, %(pid)s, clock_timestamp() + %(lease)s * interval '1 second')
returning id
"""
RENEW = """
update wopr.owners set lease_until = clock_timestamp() + %(lease)s * interval '1 second',
    seen_at = clock_timestamp(), slots = %(slots)s
where id = %(owner)s and lease_until > clock_timestamp()
returning id
"""
LEAVE = "delete from wopr.owners where id = %(owner)s"
FORGET_EXPIRED = """
delete from wopr.owners where lease_until <= clock_timestamp()
and not exists (select from wopr.tasks where tasks.owner = owners.id and status = 'started')
"""
ORPHANS = f"""
select {TASK} from wopr.tasks
where status = 'started' and (%(category)s::text is null or category = %(category)s)
    and not exists (select from wopr.owners
        where owners.id = tasks.owner and lease_until > clock_timestamp())
limit %(most)s for update skip locked
"""
"""What runs nowhere: nobody holds the lease of who had claimed it."""
OWNERS = """
select id, host, pid, seen_at, slots from wopr.owners where lease_until > clock_timestamp()
"""
RUNNING = """
select worker, category, id::text, name, attempt, started_at from wopr.tasks
where status = 'started'
"""
NOW = "select clock_timestamp()"

CANDIDATES = f"""
select {TASK} from wopr.tasks
where category = %(category)s and {PROMPT} and (run_at is null or run_at <= %(now)s)
    and (name = any(%(names)s::text[]) or name = any(%(revoked)s::text[])
        or options like '%%"expires"%%')
    and (not %(looked_after)s or name = any(%(revoked)s::text[])
        or options like '%%"expires"%%')
    and (priority < %(priority)s or (priority = %(priority)s and place > %(place)s))
    and not exists (select from wopr.rules where kind = 'pause'
        and rules.name in ('category ' || tasks.category, 'task ' || tasks.name))
order by priority desc, place
limit %(most)s
for update skip locked
"""
"""What is due, to be looked at one by one; with ``looked_after`` only what claims leave alone."""
HOLDS = f"""
select from wopr.owners where id = %(owner)s and lease_until > clock_timestamp() and {_AS_KNOWN}
for key share
"""
OWN = """
update wopr.tasks set owner = %(owner)s, keys = given.keys
from unnest(%(ids)s::uuid[], %(keys)s::text[]) as given (id, keys) where tasks.id = given.id
"""
STARTED = f"select {TASK} from wopr.tasks where status = 'started' limit %(most)s"
ADOPT = """
update wopr.tasks set owner = %(owner)s where status = 'started' and owner = %(before)s
"""
MEASURED = "select pg_advisory_xact_lock(hashtextextended('wopr ' || %(what)s, 0))"
"""Has only one host at a time look at what a limit counts."""
RUNS = """
select name, args, kwargs, keys from wopr.tasks
where category = %(category)s and status = 'started'
"""
STARTS = """
select tasks.name, tasks.args, tasks.kwargs, tasks.keys, transitions.occurred_at
from wopr.transitions join wopr.tasks on tasks.id = transitions.task_id
where transitions.to_status = 'started' and transitions.occurred_at > %(since)s
    and tasks.category = %(category)s
order by transitions.seq
"""
BACKLOG = f"select count(*) from wopr.tasks where category = %(category)s and {_CLAIMABLE}"
OLDEST = f"""
select {TASK} from wopr.tasks where category = %(category)s and {_FREE}
order by (run_at is not null and run_at > %(now)s), seq limit %(most)s for update skip locked
"""
UNFIT = f"""
select {TASK} from wopr.tasks where status = 'pending' and waiting
    and error_type = 'DoesNotFit' and name = any(%(names)s::text[]) and seq > %(after)s
order by seq limit %(most)s
"""
AHEAD = f"""
select count(*) from wopr.tasks, (
    select category, priority, place from wopr.tasks where id = %(id)s
) as this
where tasks.category = this.category and {_FREE.replace("status", "tasks.status")}
    and (run_at is null or run_at <= %(now)s)
    and (tasks.priority > this.priority
        or (tasks.priority = this.priority and tasks.place < this.place))
"""
LIVE_BY_NAME = f"""
select category, name,
    count(*) filter (where {_CLAIMABLE}),
    count(*) filter (where {_FREE} and greatest(created_at, run_at) <= %(now)s),
    count(*) filter (where status = 'started'),
    min(greatest(created_at, run_at)) filter (
        where {_FREE} and greatest(created_at, run_at) <= %(now)s
    )
from wopr.tasks where {_LIVE} group by category, name order by category, name limit %(most)s
"""
UNFIT_COUNTS = """
select name, count(*) from wopr.tasks
where status = 'pending' and waiting and error_type = 'DoesNotFit' group by name order by name
"""
FIRED = """
select tasks.schedule, tasks.scheduled_for, tasks.id::text
from unnest(%(schedules)s::text[], %(times)s::timestamp[]) as asked (schedule, scheduled_for)
join wopr.tasks using (schedule, scheduled_for)
left join wopr.schedules on schedules.name = tasks.schedule
where schedules.updated_at is null or tasks.created_at >= schedules.updated_at
"""
"""Which of these planned times of the present plans have been fired."""
