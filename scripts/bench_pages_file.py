"""A file with a month of history, written by SQL as a queue would have left it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

DAYS = 30
STEP = 100_000
WAITING = 20_000
"""So many tasks wait: every other one of the newest."""


def fill(path: Path, tasks: int) -> int:
    """Write so many tasks, that ended in the month before now; return how many transitions.

    Of 1,000 tasks 955 succeed at once, 20 at the second attempt, 15 fail for good, in some dozen
    ways, and 10 are cancelled: three transitions a task. The file is one that a queue made, and
    that nobody has open.
    """
    begin = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=DAYS, minutes=2)
    gap = int(timedelta(days=DAYS) / timedelta(microseconds=1) / tasks)
    connection = duckdb.connect(str(path), config={"threads": 1, "memory_limit": "1GB"})
    seq = 0
    for first in range(1, tasks + 1, STEP):
        last = min(first + STEP, tasks + 1)
        values = {
            "first": first,
            "last": last,
            "begin": begin,
            "gap": gap,
            "waiting": tasks - 2 * WAITING,
        }
        connection.execute(_LIVES, values).fetchall()
        connection.execute(_MOVES, {"seq": seq}).fetchall()
        connection.execute(_LOG).fetchall()
        connection.execute(_TASKS).fetchall()
        [(seq,)] = connection.execute("select max(seq) from moves").fetchall()
    connection.execute("drop table lives; drop table moves")
    connection.execute("update meta set value = $1 where key = 'folded'", [str(seq)]).fetchall()
    connection.execute("update meta set value = $1 where key = 'seq'", [str(seq)]).fetchall()
    connection.execute("checkpoint")
    connection.close()
    return int(seq)


_LIVES = """
create or replace temp table lives as
with drawn as (
    select
        n,
        hash(n) % 1000 as luck,
        hash(n + 7) % 24 as kind,
        $begin + to_microseconds(n * $gap) as created_at,
        (hash(n + 1) % 2000) / 1000 as wait,
        -2 * ln((hash(n + 2) % 100000 + 1) / 100001) as run
    from range($first, $last) numbers(n)
)
select
    *,
    (lpad(to_hex(epoch_ms(created_at)), 12, '0') || '7' || substr(md5(n::varchar), 1, 3) || '8'
        || substr(md5(n::varchar), 4, 15))::uuid as id,
    'shop.task_' || kind as name,
    'category_' || kind % 8 as category,
    '[' || n || ',"' || md5((n + 3)::varchar) || md5((n + 4)::varchar) || '"]' as args,
    n > $waiting and n % 2 = 0 as waits,
    case
        when waits then 'pending'
        when luck < 975 then 'success'
        when luck < 990 then 'failed'
        else 'cancelled'
    end as status,
    case
        when waits or luck >= 990 then 0
        when luck < 955 or luck between 975 and 984 then 1
        else 2
    end as attempts,
    ['ValueError', 'TimeoutError', 'KeyError', 'shop.errors.Refused'][(hash(n + 5) % 4 + 1)::bigint]
        as error_type,
    error_type || ': order ' || n || ' of customer ' || md5((n + 6)::varchar)
        || ' could not be ' || ['paid', 'packed', 'sent'][(hash(n + 8) % 3 + 1)::bigint] as error,
    case when n // 5 % 20 = 0 then md5((n // 5)::varchar)::uuid end as flow_id,
    case when n % 1000 = 0 then 'schedule_' || n // 1000 % 3 end as schedule
from drawn
"""
_MOVES = """
create or replace temp table moves as
with steps as (
    select *, unnest(range(attempts * 2 + 1)) as step from lives where status <> 'cancelled'
    union all
    select *, unnest([0, 9]) from lives where status = 'cancelled'
),
timed as (
    select
        *,
        created_at + to_microseconds((1000000 * case step
            when 0 then 0
            when 1 then wait
            when 2 then wait + run
            when 3 then wait + run + 5
            when 4 then wait + 2 * run + 5
            else 60
        end)::bigint) as moment
    from steps
)
select *, $seq + row_number() over (order by moment, n, step) as seq from timed
"""
_LOG = """
insert into transitions by name
select
    seq,
    id as task_id,
    case when step = 9 then 0 else (step + 1) // 2 end as attempt,
    case step when 0 then null when 2 then 'started' when 3 then 'retry' when 4 then 'started'
        else 'pending' end as from_status,
    case
        when step = 0 then 'pending'
        when step in (1, 3) then 'started'
        when step = 2 and attempts = 2 then 'retry'
        else status
    end as to_status,
    moment as occurred_at,
    case when step in (1, 2, 3, 4) then 'shop-1-1000-' || category || '-' || n % 10 end as worker,
    case
        when step = 0 then 'add'
        when step in (1, 3) then 'claim'
        when to_status = 'success' then 'succeed'
        when to_status = 'cancelled' then 'cancel'
        else 'failed'
    end as reason,
    case when reason = 'failed' then moves.error end as error,
    case
        when step = 0 then '{"name":"' || name || '","category":"' || category
            || '","priority":2,"max_retries":1,"args":' || args || ',"kwargs":{}}'
        when reason = 'failed' then '{"error_type":"' || error_type || '","traceback":"'
            || 'Traceback (most recent call last):\\n  File \\"/srv/shop/tasks.py\\", line 68, in '
            || name || '\\n    return await client.send(order)\\n' || moves.error || '\\n"}'
        when reason = 'succeed' then '{"result":' || n || '}'
    end as data
from moves
order by seq
"""
_TASKS = """
insert into tasks by name
select
    id, any_value(name) as name, any_value(category) as category, any_value(args) as args,
    any_value(status) as status, any_value(created_at) as created_at,
    any_value(flow_id) as flow_id, any_value(schedule) as schedule,
    case when any_value(schedule) is not null then any_value(created_at) end as scheduled_for,
    min(seq) as seq, max(seq) as version, 2 as priority, any_value(attempts) as attempt,
    greatest(any_value(attempts) - 1, 0) as retry_count, 1 as max_retries, 0 as crashes,
    '{}' as kwargs, 0.0 as progress, '' as progress_message, false as waiting,
    max(moment) filter (step in (1, 3)) as started_at,
    case when any_value(status) <> 'pending' then max(moment) end as completed_at,
    case when any_value(attempts) > 0 then any_value(run) end as elapsed_seconds,
    case when any_value(attempts) > 0
        then any_value('shop-1-1000-' || category || '-' || n % 10) end as worker,
    case when any_value(status) = 'success' then any_value(n)::varchar end as result,
    case when any_value(status) = 'failed' then any_value(error) end as error,
    case when any_value(status) = 'failed' then any_value(error_type) end as error_type
from moves
group by id
order by min(seq)
"""
