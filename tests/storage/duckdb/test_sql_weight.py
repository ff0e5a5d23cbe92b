"""What a query makes of long values on its way, DuckDB does not count: it runs apart then."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.queues import PATIENCE
from wopr import QueryTimeoutError, TaskQueue
from wopr.config.settings import Settings
from wopr.domain.errors import QueryError
from wopr.ports.storage import QueryLimits
from wopr.storage.duckdb import asking
from wopr.storage.duckdb.asked.reading import check
from wopr.storage.duckdb.asked.sizes import VIEWS, Sizes
from wopr.storage.duckdb.file import migrate

LONG = 100_000
INTO_TASKS = (
    "insert into tasks (id, seq, name, category, priority, max_retries, args, kwargs,"
    " created_at, version) select uuid(), range, 'shop.send_mail', 'mail', 2, 3,"
    " repeat('x', $1), '{}', now()::timestamp, range from range(50)"
)


def filled(length: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    migrate.upgrade(connection)
    connection.execute(INTO_TASKS, [length])
    return connection


@pytest.fixture(scope="module")
def long() -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a database with arguments of 100 kB."""
    with filled(LONG) as connection:
        yield connection


@pytest.fixture(scope="module")
def short() -> Iterator[duckdb.DuckDBPyConnection]:
    with filled(20) as connection:
        yield connection


def is_heavy(
    cursor: duckdb.DuckDBPyConnection,
    text: str,
    params: Sequence[Any] = (),
    *,
    archived: bool = False,
) -> bool:
    checked = check(cursor, text)
    assert not checked.endless
    return Sizes().is_heavy(cursor, checked.weight, params, archived=archived, written=0)


MADE = [
    "select reverse(args) from tasks",
    "select upper(args) from tasks where id = uuid()",
    "select length(substring(args, 2)) from tasks",
    "select args || name from tasks",
    "select args::blob from tasks",
    "select to_json(args) from tasks",
    "select args->>'$.a' from tasks",
    "select left(args, 10) from tasks",
    "select [args] from tasks",
    "select {'a': args}::text from tasks",
    "select map([name], [args]) from tasks",
    "select case when seq > 1 then args end from tasks",
    "select coalesce(args, name) from tasks",
    "select max(args) from tasks group by id",
    "select lag(args) over (order by seq) from tasks",
    "select 1 from tasks order by reverse(args)",
    "select 1 from tasks where reverse(args) = args",
    "select count(*) filter (where upper(args) = 'a') from tasks",
    "select unnest([args]) from tasks",
    "select args[1:3] from tasks",
    "select args > 'x' collate nocase from tasks",
    "select string_split(args, ',') from tasks",
    "explain analyze select reverse(args) from tasks",
    "select reverse(t::text) from tasks t",
    "select reverse(a::text) from tasks t(a)",
    "select upper(tasks.args) from tasks",
    "select upper(columns('n.*')) from tasks",
    "select upper(#11) from tasks",
    "select upper(name) from (select * rename (args as name, name as args) from tasks)",
    "select upper(name) from (select * replace (args as name) from tasks)",
    "select upper(k) from (select args as k from tasks)",
    "select upper(a) from (from tasks) as q(a, b, c)",
    "select upper(x) from (select 'a' as x, 'b' union all from (select args, name from tasks))",
    "select upper(name) from (select name from tasks union all select args from tasks)",
    "with q as (select args from tasks) select upper(args) from q",
    "select 1 as args, upper(t.args) from tasks t",
    "select upper(args) as args from tasks",
    "select name as args from (select upper(args) as name from tasks)",
    "select upper((select any_value(args) from tasks))",
    "select upper(a.args) from tasks a, tasks b",
    "select upper(data) from history, tasks where args = ''",
    "select name, list(args) from tasks, range(100) group by all",
    "select upper(string_agg(args, ',')) from tasks, range(100)",
    "select max(args, 500) from tasks, range(100)",
]
HEAVY_ALWAYS = [
    "select string_agg(a.name, '') over (order by a.seq) from tasks a, tasks b",
    "select list(seq) over (order by seq) from tasks, range(100)",
    "with q as (select list(args) as l from tasks, range(100)) select l[1] from q",
    "with q as (select args from tasks) select string_agg(a.args, '') from q a, q b",
    "select repeat(name, 10000) from tasks",
    "select " + "reverse(" * 40 + "repeat('x', 1000)" + ")" * 40 + " from tasks",
    "select "
    + ", ".join(f"upper('{'x' * 500}' || name) as a{n}" for n in range(100))
    + " from tasks",
    "select list(upper(a.name)) from tasks a, tasks b, tasks c, tasks d, tasks e",
    "select list(upper(name)) from tasks, range(10000000)",
]
LIGHT = [
    "select length(string_agg('x' || range, '')) from range(1000000000)",
    "select count(*), sum(range) from range(1000000000)",
    "select count(*) from tasks",
    "select args from tasks",
    "select * from tasks",
    "select sum(length(args)), count(distinct args) from tasks where args = 'x' and args like 'y%'",
    "select upper(name), name || ' ' || category, status::text from tasks",
    "select upper(name) from (select * from tasks)",
    "with q as (select * from tasks where status = 'failed') select lower(name) as n from q",
    "select name, list(seq), string_agg(category, ', ' order by seq) from tasks group by all",
    "select len(list(distinct name)), list_sort(list(distinct name)) from tasks",
    "select t.name, string_agg(h.to_status, '>') from tasks t join history h on h.task_id = t.id "
    "group by all",
    "select name, date_trunc('hour', created_at) as hour, count(*) from tasks group by all",
    "select strftime(created_at, '%H:%M') from tasks",
    "select category, wait_p95 from latency",
    "select upper(category) from latency",
    "select min(created_at), max(seq), avg(priority) from tasks",
    "select upper(table_name) from duckdb_tables()",
    "select * from failures",
]


@pytest.mark.parametrize("text", MADE)
def test_what_makes_long_values_of_long_ones_is_heavy(
    long: duckdb.DuckDBPyConnection, text: str
) -> None:
    assert is_heavy(long, text)


@pytest.mark.parametrize("text", HEAVY_ALWAYS)
def test_what_makes_long_values_of_any_is_heavy(
    short: duckdb.DuckDBPyConnection, text: str
) -> None:
    assert is_heavy(short, text)


@pytest.mark.parametrize("text", MADE)
def test_the_same_is_light_where_the_values_are_short(
    short: duckdb.DuckDBPyConnection, text: str
) -> None:
    assert not is_heavy(short, text)


@pytest.mark.parametrize("text", LIGHT)
def test_what_makes_nothing_of_long_values_is_light(
    long: duckdb.DuckDBPyConnection, text: str
) -> None:
    assert not is_heavy(long, text)


def test_a_long_parameter_counts_like_a_stored_value(short: duckdb.DuckDBPyConnection) -> None:
    text = "select upper(name || ?) from tasks"
    assert not is_heavy(short, text, ["x"])
    assert is_heavy(short, text, ["x" * LONG])
    assert is_heavy(short, "select upper(?::text) from tasks", [[["x" * LONG]]])


def test_of_an_archive_only_names_are_known_to_be_short(short: duckdb.DuckDBPyConnection) -> None:
    assert not is_heavy(short, "select upper(name) from tasks", archived=True)
    assert is_heavy(short, "select upper(kwargs) from tasks", archived=True)


def test_what_was_measured_is_measured_again_once_something_is_written() -> None:
    with filled(20) as cursor:
        sizes, weight = Sizes(), check(cursor, MADE[0]).weight
        assert not sizes.is_heavy(cursor, weight, (), archived=False, written=1)
        cursor.execute(INTO_TASKS, [LONG])
        assert sizes.is_heavy(cursor, weight, (), archived=False, written=2)


def test_all_views_of_wopr_are_weighed(short: duckdb.DuckDBPyConnection) -> None:
    rows = short.execute("select view_name from duckdb_views() where not internal").fetchall()
    assert {name for (name,) in rows} == set(VIEWS)


async def test_the_owner_takes_no_memory_for_what_a_query_makes(tmp_path: Path) -> None:
    """Of 500 arguments of 200 kB: each step took 100 MB of the owner's, beside the limit."""
    settings = Settings(query_seconds=PATIENCE, memory_limit="256MB")
    queue = TaskQueue(enabled=True, database=tmp_path / "one.duckdb", settings=settings)
    queue.register_task("noop")(lambda text: text)
    async with queue:
        for number in range(500):
            await queue.enqueue("noop", (f"{number:200000}",))
        await queue.sql("select sum(length(args)) from tasks")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer = await queue.sql("select sum(length(reverse(upper(reverse(args))))) from tasks")
        assert 500 * 200_004 == answer.scalar()
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < 60 * 1024


async def test_a_query_that_runs_a_second_time_has_what_the_first_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "one.duckdb")
    now, given = 1_000.0, []

    def interrupted(*_: Any) -> Any:
        nonlocal now
        now += 20.0
        try:
            raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")
        except duckdb.Error as error:
            raise QueryError("interrupted") from error

    async def apart(sql: str, params: Any, limits: QueryLimits) -> None:
        given.append(limits.seconds)

    async with queue:
        queue.register_task("noop")(lambda: None)
        await queue.enqueue("noop")
        monkeypatch.setattr(asking.time, "monotonic", lambda: now)
        monkeypatch.setattr(asking, "run", interrupted)
        monkeypatch.setattr(queue.storage, "_apart", apart)
        await queue.storage.query("select 1", [], QueryLimits(seconds=50.0))
        assert [30.0] == given
        with pytest.raises(QueryTimeoutError, match="longer than 15 s"):
            await queue.storage.query("select 1", [], QueryLimits(seconds=15.0))
        monkeypatch.undo()
