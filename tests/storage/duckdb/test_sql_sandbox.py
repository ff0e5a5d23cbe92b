"""``queue.sql`` reads and does nothing else, within bounds, and never holds the writer up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.queues import PATIENCE
from wopr import InvalidCallError, QueryError, QueryTimeoutError, TaskQueue
from wopr.config.settings import Settings
from wopr.ports.storage import QueryLimits
from wopr.storage.duckdb.asked.pivot import with_values

CHANGES = [
    "delete from tasks",
    "update tasks set status = 'success'",
    "insert into meta values ('a', 'b')",
    "drop table tasks",
    "drop view history",
    "create table evil (i int)",
    "create temp table evil (i int)",
    "create view evil as select 1",
    "create or replace macro evil() as 1",
    "create schema evil",
    "create sequence evil",
    "create type evil as enum ('a')",
    "alter table tasks add column evil int",
    "truncate tasks",
    "with gone as (delete from tasks returning *) select * from gone",
    "with gone as (insert into meta values ('a', 'b') returning *) select * from gone",
    "with gone as (update tasks set name = 'x' returning *) select * from gone",
    "merge into meta using (select 'folded' as key) s on meta.key = s.key when matched then delete",
    "explain analyze delete from tasks",
    "EXPLAIN (ANALYZE) delete from tasks",
    "checkpoint",
    "force checkpoint",
    "vacuum",
    "analyze",
    "begin",
    "commit",
    "rollback",
    "select 1; delete from tasks",
    "select 1; select 2",
    "prepare p as delete from tasks",
    "execute p",
    "call pragma_database_size()",
    "comment on table tasks is 'x'",
]
ESCAPES = [
    "select * from read_csv('/etc/passwd')",
    "select * from read_csv_auto('/etc/passwd')",
    "select * from '/etc/passwd'",
    "select * from read_text('/etc/passwd')",
    "select * from read_blob('/etc/passwd')",
    "select * from read_json('/proc/self/environ')",
    "select * from read_parquet('/tmp/x.parquet')",
    "select * from parquet_scan('/tmp/x.parquet')",
    "select * from sniff_csv('/etc/passwd')",
    "select * from glob('/etc/*')",
    "select * from read_duckdb('/tmp/x.duckdb')",
    "select * from 'https://example.org/x.csv'",
    "select * from read_csv('https://example.org/x.csv')",
    "copy tasks to '/tmp/wopr-escape.csv'",
    "copy (select 1) to '/tmp/wopr-escape.csv'",
    "copy tasks from '/etc/passwd'",
    "export database '/tmp/wopr-escape'",
    "import database '/tmp/wopr-escape'",
    "attach '/tmp/wopr-escape.duckdb' as evil",
    "attach ':memory:' as evil",
    "detach memory",
    "use memory",
    "install httpfs",
    "load httpfs",
    "update extensions",
    "set enable_external_access = true",
    "set global memory_limit = '10GB'",
    "set threads = 64",
    "reset memory_limit",
    "pragma memory_limit = '10GB'",
    "pragma enable_profiling",
    "set temp_directory = '/tmp'",
    "set search_path = 'evil'",
    "create secret evil (type http)",
    "select * from unknown_python_variable",
    "select getenv('HOME')",
    "select nextval('evil')",
    "",
    ";",
    "select",
    "select \x00 1",
    "not sql at all",
    "(" * 2_000 + "1" + ")" * 2_000,
]


SOON = pytest.mark.parametrize("queue", [1.0], indirect=True)
"""Such a queue gives a query one second."""


@pytest.fixture
async def queue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TaskQueue]:
    queue = TaskQueue(
        enabled=True,
        database=tmp_path / "sandbox.duckdb",
        settings=Settings(query_seconds=getattr(request, "param", PATIENCE), query_rows=1_000),
    )

    @queue.task
    async def noop(number: int) -> int:
        return number

    async with queue:
        await noop.enqueue_many([(number,) for number in range(10)])
        yield queue


async def count(queue: TaskQueue) -> object:
    """Return how many tasks there are, however long the queue gives a query."""
    limits = QueryLimits(seconds=PATIENCE)
    return (await queue.storage.query("select count(*) from tasks", [], limits)).rows[0][0]


@pytest.mark.parametrize("statement", CHANGES + ESCAPES)
async def test_a_statement_that_is_no_plain_read_is_refused(
    queue: TaskQueue, statement: str, tmp_path: Path
) -> None:
    before = [
        (await queue.sql(f"select count(*), max(seq) from {table}")).rows
        for table in ("tasks", "transitions")
    ]
    files = sorted(path.name for path in tmp_path.iterdir())

    with pytest.raises(QueryError):
        await queue.sql(statement)

    after = [
        (await queue.sql(f"select count(*), max(seq) from {table}")).rows
        for table in ("tasks", "transitions")
    ]
    assert before == after
    assert files == sorted(path.name for path in tmp_path.iterdir())
    assert not Path("/tmp/wopr-escape.csv").exists()
    assert not Path("/tmp/wopr-escape.duckdb").exists()


async def test_parameters_are_values_never_sql(queue: TaskQueue) -> None:
    evil = "noop' or '1'='1"
    assert 0 == (await queue.sql("select count(*) from tasks where name = ?", evil)).scalar()
    assert 10 == (await queue.sql("select count(*) from tasks where name = ?", "noop")).scalar()


async def test_parameters_that_do_not_fit_are_a_query_error(queue: TaskQueue) -> None:
    for parameters in ((), (1, 2), (object(),)):
        with pytest.raises(QueryError):
            await queue.sql("select ?", *parameters)


@SOON
async def test_a_query_that_takes_too_long_is_stopped(queue: TaskQueue) -> None:
    with pytest.raises(QueryTimeoutError, match="WOPR_TASKS_QUERY_SECONDS"):
        await queue.sql("select count(*) from range(100000000) a, range(1000000) b")

    assert 10 == await count(queue)


async def test_more_rows_than_the_limit_are_cut_and_that_is_said(queue: TaskQueue) -> None:
    cut = await queue.sql("select * from range(5000)")
    whole = await queue.sql("select * from range(1000)")

    assert (1_000, True) == (len(cut), cut.truncated)
    assert (1_000, False) == (len(whole), whole.truncated)


async def test_the_limit_of_rows_of_a_call_counts_for_it(queue: TaskQueue) -> None:
    more = await queue.sql("select * from range(5000)", limit=5_000)
    less = await queue.sql("select * from range(5000)", limit=7)
    apart = await queue.typed_sql("select * from range(5000)", limit=6)
    found = [(len(one), one.truncated) for one in (more, less, apart)]
    assert [(5_000, False), (7, True), (6, True)] == found
    for bad in (0, -1, 1.5, True, "all"):
        with pytest.raises(InvalidCallError, match="limit"):
            await queue.sql("select 1", limit=bad)  # type: ignore[call-overload]


async def test_a_query_without_memory_names_the_setting_and_whose_it_is(queue: TaskQueue) -> None:
    text = "select list(range || repeat('x', 1000)) from range(1000000)"
    with pytest.raises(QueryError, match=r"for want of memory.*WOPR_TASKS_MEMORY_LIMIT") as error:
        await queue.sql(text)
    assert "SET " not in str(error.value)


async def test_a_query_sees_everything_enqueued_before_it(queue: TaskQueue) -> None:
    for number in range(20):
        await queue.enqueue("noop", (number,))
        assert 11 + number == (await queue.sql("select count(*) from tasks")).scalar()


async def test_the_writer_goes_on_while_a_query_runs(queue: TaskQueue) -> None:
    slow = asyncio.create_task(
        queue.sql("select count(*) from range(100000000) a, range(1000000) b")
    )
    people = queue.storage._people
    while not [one for one in people._askers if one._cursor is not None]:
        await asyncio.sleep(0)
    for number in range(50):
        await queue.enqueue("noop", (number,))
    assert not slow.done()

    while not slow.done():  # one that comes just before DuckDB begins is not heard
        people.interrupt()
        await asyncio.wait([slow], timeout=0.01)
    with pytest.raises(QueryError):
        await slow


@SOON
async def test_a_query_that_wants_all_memory_does_not_stop_the_writer(queue: TaskQueue) -> None:
    greedy = asyncio.create_task(
        queue.sql("select length(list(r || repeat('x', 1000))::varchar) from range(10000000) t(r)")
    )
    for number in range(100):
        await queue.enqueue("noop", (number,))

    with pytest.raises(QueryError):
        await greedy
    assert 110 == await count(queue)


async def test_results_are_dicts_and_data_frames(queue: TaskQueue) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    result = await queue.sql("select id, name, created_at from tasks order by seq limit 2")

    assert ["id", "name", "created_at"] == list(next(iter(result)))
    assert "noop" == result[1]["name"]
    assert (2, 3) == result.df().shape
    assert (2, 3) == result.pl().shape
    assert (2, 3) == result.arrow().shape
    assert ["id", "name", "created_at"] == result.arrow().column_names
    empty = await queue.sql("select id from tasks where false")
    assert (0, 1) == empty.df().shape == empty.pl().shape == empty.arrow().shape


@pytest.mark.parametrize(
    "sql",
    [
        "select size from read_blob('{path}')",
        "select size from read_text('{path}.wal')",
        "select content from read_blob /* a */ ('{path}.journal-1')",
        "select * from query('select size from read_blob(''{path}'')')",
        "select * from '{path}'",
        "copy (select 1) to '{path}.journal-1' (use_tmp_file false)",
    ],
)
async def test_the_files_of_the_queue_itself_are_no_tables(queue: TaskQueue, sql: str) -> None:
    with pytest.raises(QueryError):
        await queue.sql(sql.format(path=queue.database))


@pytest.mark.parametrize(
    "text", ["select error('FATAL Error')", "select 'database has been invalidated'::int"]
)
async def test_a_query_that_says_the_database_is_broken_does_not_have_it_opened_again(
    queue: TaskQueue, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(QueryError):
        await queue.sql(text)
    await queue.get_tasks()
    assert "opened again" not in caplog.text


READS = (
    "pivot tasks on name in ('double') using count(*)",
    "from tasks pivot (count(*) for status in ('pending', 'failed'))",
    "select * from (pivot (select status from tasks) on status in ('failed') using count(*))",
    "unpivot (select 1 as a, 2 as b) on a, b into name k value v",
    "explain select 1",
    "EXPLAIN\nANALYZE select count(*) from tasks",
    "describe tasks",
    "explain (format json) select 1",
    "explain (analyze, format text) select count(*) from tasks",
    "with p as (pivot tasks on status using count(*)) from p",
    "pivot (from tasks join transitions on true) on lower(status) using count(*) order by all",
)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("pivot t on a using count(*)", "pivot t on a \n in (null) using count(*)"),
        ("pivot t on a, b in (1)", "pivot t on a\n in (null) , b in (1)"),
        ("pivot t on a -- using", "pivot t on a -- using\n in (null) "),
        ("from (pivot t on f(a, b))", "from (pivot t on f(a, b)\n in (null) )"),
        ("pivot t join u on x = y on a", "pivot t join u on x = y on a\n in (null) "),
        ("pivot (pivot t on a) on b", "pivot (pivot t on a\n in (null) ) on b\n in (null) "),
        ("pivot t on a in (1)", None),
        ("select 'pivot t on a'", None),
    ],
)
def test_the_values_of_a_pivot_are_named_where_they_are_not(query: str, named: str | None) -> None:
    assert with_values(query) == named


async def test_a_pivot_without_values_finds_its_columns(queue: TaskQueue) -> None:
    found = await queue.sql("pivot tasks on name using count(*) group by status")
    assert [{"status": "pending", "noop": 10}] == list(found)


@pytest.mark.parametrize("query", READS)
async def test_what_only_reads_is_run_however_it_is_written(queue: TaskQueue, query: str) -> None:
    assert list(await queue.sql(query))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("pivot tasks on status || name using count(*)", "This PIVOT can't be checked"),
        ("pivot read_text('/etc/passwd') on filename using count(*)", "read_text"),
        ("from (pivot tasks on name using count(*)), checkpoint()", "checkpoint"),
        ("pivot tasks on name using count(*); delete from tasks", "This PIVOT can't be checked"),
        ("explain (statistics) select 1", "EXPLAIN takes these options here"),
        ("explain (analyze) delete from tasks", "this begins with DELETE"),
        ("explain (format json, analyze) delete from tasks", "this begins with DELETE"),
        ("explain analyze delete from tasks", "begins with DELETE"),
        ("delete from tasks where name = 'pivot'", "begins with DELETE"),
    ],
)
async def test_what_is_refused_is_named(queue: TaskQueue, query: str, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        await queue.sql(query)
