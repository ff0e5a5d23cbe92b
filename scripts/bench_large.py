"""The part of the benchmark that needs a file with millions of tasks."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import duckdb
from bench_workloads import Bench, enqueue_many_callers, peak_rss


async def measure(result: dict[str, float], tasks: int) -> None:
    """Add the figures with ``tasks`` waiting and as many finished, against those without."""
    with tempfile.TemporaryDirectory(prefix="wopr-bench-") as folder:
        path = Path(folder) / "large.duckdb"
        bench = Bench(path)
        async with bench.queue:
            await bench.queue.sql("select 1")
        fill(path, tasks, tasks)
        bench = Bench(path)
        bench.expect(1)
        began = time.perf_counter()
        async with bench.queue:
            await bench.queue.start_workers("default", 1)
            await bench.reached.wait()
            result["open 1,000,000 pending until first run (s)"] = time.perf_counter() - began
        bench = Bench(path)
        async with bench.queue:
            rate = await enqueue_many_callers(bench)
            result["enqueue with 2,000,000 tasks (x of small)"] = (
                rate / result["enqueue, 100 callers"]
            )
            await bench.queue.sql("select 1")
            bench.expect(10_000)
            began = time.perf_counter()
            await bench.queue.start_workers("default", 100)
            await bench.reached.wait()
            rate = 10_000 / (time.perf_counter() - began)
            result["drain with 2,000,000 tasks (x of small)"] = rate / result["drain 10,000"]
        result["peak RSS with 2,000,000 tasks (MB)"] = peak_rss()


def fill(path: Path, done: int, waiting: int) -> None:
    """Write so many finished and so many waiting tasks, as a queue would have left them."""
    connection = duckdb.connect(str(path), config={"threads": 1, "memory_limit": "200MB"})
    step = 100_000
    tasks = done + waiting
    for first in range(1, tasks + 1, step):
        values = {"first": first, "last": min(first + step - 1, tasks), "tasks": done}
        connection.execute(FILL_TASKS, values).fetchall()
        connection.execute(FILL_LOG, values).fetchall()
    connection.execute(
        "update meta set value = (select max(seq)::varchar from transitions) where key = 'folded'"
    ).fetchall()
    connection.execute("checkpoint")
    connection.close()


_ID = "(lpad(to_hex(n), 8, '0') || '-0000-7000-8000-' || substr(md5(n::varchar), 1, 12))::uuid"
FILL_TASKS = f"""
insert into tasks by name
select {_ID} as id, n * 3 as seq, 'noop' as name, 'default' as category, 2 as priority,
       case when n <= $tasks then 'success' else 'pending' end as status,
       case when n <= $tasks then 1 else 0 end as attempt, 0 as retry_count, 0 as max_retries,
       0 as crashes, '[' || n || ',"' || repeat('x', 100) || '"]' as args, '{{}}' as kwargs,
       timestamp '2026-01-01' + to_milliseconds(n) as created_at,
       case when n <= $tasks then created_at end as started_at,
       case when n <= $tasks then created_at end as completed_at,
       case when n <= $tasks then n::varchar end as result,
       case when n <= $tasks then 0.0 end as elapsed_seconds,
       case when n <= $tasks then 100.0 else 0.0 end as progress, '' as progress_message,
       case when n <= $tasks then n * 3 + 2 else n * 3 end as version
from range($first, $last + 1) numbers(n)
"""
FILL_LOG = f"""
insert into transitions by name
select n * 3 + step as seq, {_ID} as task_id, least(step, 1) as attempt,
       case step when 1 then 'pending' when 2 then 'started' end as from_status,
       case step when 0 then 'pending' when 1 then 'started' else 'success' end as to_status,
       timestamp '2026-01-01' + to_milliseconds(n) as occurred_at,
       case step when 0 then 'add' when 1 then 'claim' else 'succeed' end as reason,
       case step when 0 then
         '{{"name":"noop","category":"default","priority":2,"max_retries":0,"args":[' || n || ',"'
         || repeat('x', 100) || '"],"kwargs":{{}}}}'
       when 2 then '{{"result":' || n || '}}' end as data
from range($first, $last + 1) numbers(n), range(3) steps(step)
where step = 0 or n <= $tasks
"""
