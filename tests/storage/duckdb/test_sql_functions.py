"""Functions that act are refused by name, but for a list; a new DuckDB's are looked at first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from wopr import QueryError
from wopr.ports.storage import QueryLimits
from wopr.storage import schema
from wopr.storage.duckdb.asked.functions import (
    ALLOWED_SCALARS,
    ALLOWED_TABLES,
    CALLING,
    KNOWN,
    SIGNS,
    TREES,
    VIEWS,
    refused,
)
from wopr.storage.duckdb.asked.reading import check, run

LOOKED_AT = Path(__file__).with_name("duckdb_functions.txt")
"""The names of all functions that only compute, so far as DuckDB knows: somebody looked at them."""


def words(text: str) -> list[str]:
    return text.split()


REFUSED_AS_TABLES = words("""
arrow_scan arrow_scan_dumb checkpoint create_external_resource deregister_external_resource
destroy_external_resource disable_logging disable_profiling duckdb_approx_database_count
duckdb_available_metrics duckdb_connection_count duckdb_coordinate_systems duckdb_dependencies
duckdb_dialects duckdb_eviction_queues duckdb_extension_repositories duckdb_extensions
duckdb_external_file_cache duckdb_external_resource_types duckdb_external_resources
duckdb_grammar_extensions duckdb_log_contexts duckdb_logs duckdb_logs_parsed duckdb_optimizers
duckdb_prepared_statements duckdb_profiling_settings duckdb_secret_type_parameters
duckdb_secret_types duckdb_secrets duckdb_table_sample duckdb_temporary_files duckdb_triggers
duckdb_variables enable_logging enable_profiling force_checkpoint glob histogram histogram_values
json_execute_serialized_sql pandas_scan parquet_bloom_probe parquet_file_metadata
parquet_full_metadata parquet_kv_metadata parquet_metadata parquet_scan parquet_schema
pragma_collations pragma_metadata_info pragma_storage_info pragma_user_agent python_arrow_scan
python_map_function query query_table read_blob read_csv read_csv_auto read_duckdb read_json
read_json_auto read_json_objects read_json_objects_auto read_ndjson read_ndjson_auto
read_ndjson_objects read_parquet read_single_csv_file read_single_json_file
read_single_parquet_file read_text register_external_resource register_external_resource_type
seq_scan sniff_csv test_all_types test_vector_types truncate_duckdb_logs which_secret
""")
REFUSED_AS_VALUES = words("""
create_sort_key current_connection_id current_query_id current_transaction_id currval
json_deserialize_sql json_execute_serialized_sql json_serialize_plan json_serialize_sql nextval
pg_sleep setseed setval sleep_ms stats vector_type write_log
""")

ADDED = "".join(f", a{n} as (select name + name as name from a)" for n in range(11))


@pytest.fixture(scope="module")
def cursor() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("create table tasks (name varchar, seq int)")
        yield connection


def test_a_new_duckdb_has_no_function_that_nobody_looked_at(
    cursor: duckdb.DuckDBPyConnection,
) -> None:
    rows = cursor.execute(
        "select distinct function_name from duckdb_functions() where internal "
        "and function_type in ('scalar', 'aggregate', 'macro', 'window') "
        "and not regexp_matches(function_name, '^(icu_)?collate_|^__internal')"
    ).fetchall()
    assert set() == {name.replace(" ", "_") for (name,) in rows} - set(
        LOOKED_AT.read_text("utf-8").split()
    )


def test_what_acts_is_refused_by_name(cursor: duckdb.DuckDBPyConnection) -> None:
    as_tables, as_values = refused(cursor)
    assert set(REFUSED_AS_TABLES) == as_tables
    assert set(REFUSED_AS_VALUES) == as_values


def test_what_is_allowed_is_there(cursor: duckdb.DuckDBPyConnection) -> None:
    there = {
        name
        for (name,) in cursor.execute("select function_name from duckdb_functions()").fetchall()
    }
    assert (
        set() == (ALLOWED_SCALARS | ALLOWED_TABLES | TREES | KNOWN | CALLING | set(SIGNS)) - there
    )


@pytest.mark.parametrize("name", [*REFUSED_AS_TABLES, "Checkpoint", '"READ_TEXT"'])
def test_a_table_function_that_acts_is_refused(
    cursor: duckdb.DuckDBPyConnection, name: str
) -> None:
    for text in (
        f"select * from {name}('a')",
        f"from {name} /* a */ ()",
        f"select (select count(*) from {name}())",
        f"explain with a as (select * from {name}()) select * from a",
    ):
        with pytest.raises(QueryError, match=r"\(\) can't be used here"):
            check(cursor, text)


@pytest.mark.parametrize("name", [*REFUSED_AS_VALUES, "SETSEED", '"SetSeed"'])
def test_a_function_that_acts_is_refused_wherever_it_stands(
    cursor: duckdb.DuckDBPyConnection, name: str
) -> None:
    for text in (
        f"select {name}(0.5)",
        f"select seq.{name}() from tasks",
        f"select 1 order by {name}(0.5)",
        f"select 1 union all (select 2 limit (select {name}(1)))",
        f"select [{name}(x) for x in [1]]",
        f"select sum(1) filter (where {name}(1)) over (order by 1) from tasks",
    ):
        with pytest.raises(QueryError, match=r"\(\) can't be used here"):
            check(cursor, text)


@pytest.mark.parametrize(
    "text",
    [
        "select 'read_csv(''/etc/passwd'')'",
        "select 1 -- checkpoint()",
        "select 1 /* setseed(1) */",
        'select 1 as "query(1)"',
        "with query(a) as (select 1) select * from query",
        "select checkpoint from (select 1 as checkpoint)",
        "explain select count(*) from tasks",
        "select now(), uuid(), random(), current_date, current_setting('TimeZone')",
        "select * from generate_series(1, 3), range(5), unnest([1])",
        "describe tasks",
        "summarize tasks",
        "show tables",
    ],
)
def test_what_only_reads_is_let_pass(cursor: duckdb.DuckDBPyConnection, text: str) -> None:
    assert not check(cursor, text).endless


@pytest.mark.parametrize(
    "text",
    [
        "with a as (delete from tasks returning *) select * from a",
        "with a as (insert into tasks values (1) returning *) select * from a",
        "with a as (update tasks set seq = 1 returning *) select * from a",
    ],
)
def test_a_part_that_changes_something_is_refused_by_name(
    cursor: duckdb.DuckDBPyConnection, text: str
) -> None:
    with pytest.raises(QueryError, match=text.split()[3][1:].upper()):
        check(cursor, text)


@pytest.mark.parametrize("name", ["/etc/passwd", "x.csv", "C:\\x", "*", "./x"])
def test_a_file_that_is_named_like_a_table_is_refused(
    cursor: duckdb.DuckDBPyConnection, name: str
) -> None:
    with pytest.raises(QueryError, match="no table"):
        check(cursor, f"select * from '{name}'")


@pytest.mark.parametrize(
    ("text", "endless"),
    [
        ("select lpad('x', 600000000, 'y')", True),
        ("select lpad(name, seq, 'y') from tasks", True),
        ("select repeat(repeat('x', 10000), 10000)", True),
        ("select range(0, seq) from tasks", True),
        ("select printf('%600000000d', 1)", True),
        ("select levenshtein(name, name) from tasks", True),
        ("select " + "name || " * 12 + "name from tasks", True),
        ("select concat(" + "name, " * 1_900 + "name) from tasks", True),
        ("select bin(bin(bin(bin(name)))) from tasks", True),
        ("select json_pretty(name) from tasks", True),
        ("select list_reduce(list(name), lambda a, b: a || a) from tasks", True),
        ("select [name for x in list(seq)] from tasks group by name", True),
        ("select list(seq).list_transform(lambda x: list(seq)) from tasks", True),
        ("select " + "map_concat(m, " * 11 + "m" + ")" * 11 + " from tasks", True),
        ("select json_contains(name, name) from tasks", True),
        ("select list_aggregate(list(seq), 'approx_top_k', 900000) from tasks", True),
        ("select list_aggregate(list(seq), 'avg') from tasks", False),
        ("select approx_top_k(seq, 900000) from tasks", True),
        ("select name::bignum from tasks", True),
        ("select cast(name as struct(a bignum[])) from tasks", True),
        ("select name::json::variant from tasks", True),
        ("select name::timestamptz[] from tasks", True),
        ("select '2026-01-01'::timestamptz, seq::double, name::text from tasks", False),
        ("select now() at time zone name from tasks", True),
        ("select now() at time zone 'UTC'", False),
        ("select strptime(name, '%Z') from tasks", True),
        ("select strptime(name, '%Y-%m-%d') from tasks", False),
        ("select name ~ name from tasks", True),
        ("select name ~ '^(a{900}){900}' from tasks", True),
        ("select name ~ '^a.*b', name like 'a%b', regexp_extract(name, 'a', 1) from tasks", False),
        ("select json_extract(name, '$..*') from tasks", True),
        ("select name->>name from tasks", True),
        ("select name->>'$.a[0].b', json_extract_string(name, 'a') from tasks", False),
        ("select max(length(value)) from json_tree((select name from tasks limit 1))", True),
        ("with a as (select name + name as name from tasks)" + ADDED + " select * from a", True),
        ("select " + "[" * 11 + "name" + "]::text" * 11 + " from tasks", True),
        ("with recursive a as (select 1 as b union all select b + 1 from a) from a", False),
        ("with recursive a as (select 'x' as b union all select b || b from a) from a", True),
        ("select a_function_of_the_next_duckdb(name) from tasks", True),
        ("select concat(name, ' ', seq), [name, name], hex(name) from tasks", False),
        ("select list_contains([" + "1, " * 1_500 + "1], seq) from tasks", False),
        ("select lpad(name, 20, ' ') from tasks", False),
        ("select repeat('x', 1000), range(10000000) from range(3)", True),
        ("select repeat('x', 1000) from range(10000000)", False),
        ("select name || name from tasks", False),
    ],
)
def test_what_can_not_be_stopped_is_told_from_what_can(
    cursor: duckdb.DuckDBPyConnection, text: str, endless: bool
) -> None:
    assert endless == check(cursor, text).endless


def test_a_query_is_run_after_one_whose_rollback_found_no_memory() -> None:
    with duckdb.connect() as cursor:
        cursor.execute("create table results (seq bigint)")
        cursor.execute("begin")
        with pytest.raises(duckdb.Error):
            cursor.execute("select error('no room')").fetchall()
        assert [(1,)] == run(cursor, "select 1", [], QueryLimits()).rows


def test_a_view_that_somebody_made_hides_what_it_calls(cursor: duckdb.DuckDBPyConnection) -> None:
    cursor.execute("create or replace view theirs as select json_contains(name, name) from tasks")
    cursor.execute("create or replace table theirs_too as select 1 as a")
    assert check(cursor, "select * from Theirs").endless
    assert not check(cursor, "with a as (select 1) select * from a, theirs_too, latency").endless
    assert set(schema.VIEWS) == VIEWS
