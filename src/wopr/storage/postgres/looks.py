"""What hosts ask now and then, in case that nobody was heard to call: one statement a look."""

from __future__ import annotations

from wopr.storage.postgres.statements import FREE, LATER, PROMPT

STALE = """
select given.id from unnest(%(ids)s::text[], %(versions)s::bigint[]) as given (id, version)
left join wopr.tasks on tasks.id = given.id::uuid
where tasks.version is distinct from given.version
"""
"""Which tasks are not what this process thinks that they are."""

LOOK = f"""
select clock_timestamp(), (select value from wopr.meta where key = 'rules'),
    (select min(next_fire_at) from wopr.schedules where paused_at is null), array({STALE}),
    asked.category,
    (select id from wopr.tasks where tasks.category = asked.category and {PROMPT}
        and (run_at is null or run_at <= %(now)s)
        order by priority desc, place limit 1) is not null
    or coalesce((select run_at from wopr.tasks where tasks.category = asked.category and {LATER}
        order by run_at limit 1) <= %(now)s, false) as due,
    (select min(run_at) from wopr.tasks where tasks.category = asked.category and {LATER}
        and run_at > %(now)s) as next_at
from (select 1) as once left join unnest(%(categories)s::text[]) as asked (category) on true
"""
"""What nobody may have called out: a row for each category, with all the rest in each.

Where very many tasks wait, a server that is asked for any of them takes it that one comes soon, and
reads all that have ended before it; so it is asked for the next one, which an index tells.
"""

LOOK_AROUND = f"""
select
    exists (select from wopr.tasks where status = 'started'
        and not exists (select from wopr.owners
            where owners.id = tasks.owner and lease_until > clock_timestamp()))
        and pg_postmaster_start_time() < clock_timestamp() - %(lease)s * interval '1 second',
    exists (select from wopr.owners where lease_until <= clock_timestamp()
        and not exists (select from wopr.tasks
            where tasks.owner = owners.id and status = 'started')),
    array(select id::text from wopr.tasks
        where status = 'started' and owner = %(owner)s order by id),
    array(select version from wopr.tasks
        where status = 'started' and owner = %(owner)s order by id),
    array(select distinct category from wopr.tasks
        where category = any(%(categories)s::text[]) and {FREE}
            and options like '%%"expires"%%' and (options::json ->> 'expires')::timestamp < %(now)s
            and (run_at is null or run_at <= %(now)s))
"""
"""Whether dead hosts have left tasks, or nothing; what is this host's; what is too late.

A server that has just been started says nothing of the dead: nobody could renew a lease.
"""
