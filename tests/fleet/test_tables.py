"""The tables on PostgreSQL are those of a file, and so are the questions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from support.homes import POSTGRES, POSTGRES_FILES
from support.queues import DuckDBHome, PostgresHome
from wopr import InvalidCallError, QueryError, QueryTimeoutError, Settings, StorageError, TaskQueue
from wopr.insights.dialects import questions, words
from wopr.storage.postgres import selecting
from wopr.storage.postgres.dialect import translated
from wopr.storage.schema import VIEWS, metadata

ROOT = Path(__file__).parents[2]
OF_HOSTS = {"owner", "awaited", "place", "keys", "ready_at"}
"""Columns of ``tasks`` that only a queue on PostgreSQL has."""

COLUMNS = """
select table_name, column_name from information_schema.columns
where table_schema = 'wopr' order by table_name, ordinal_position
"""


async def columns(queue: TaskQueue) -> dict[str, list[str]]:
    """Return the columns of all tables and views."""
    found: dict[str, list[str]] = {}
    for row in await queue.sql(COLUMNS):
        found.setdefault(row["table_name"], []).append(row["column_name"])
    return found


async def test_tables_have_the_columns_that_the_schema_describes(shared: PostgresHome) -> None:
    async with shared.queue() as queue:
        found = await columns(queue)
    for table in metadata.tables.values():
        expected = {column.name for column in table.columns}
        extra = OF_HOSTS if table.name == "tasks" else set()
        assert expected | extra == set(found[table.name]), table.name


async def test_views_have_the_columns_of_those_of_a_file(
    shared: PostgresHome, tmp_path: Path
) -> None:
    async with shared.queue() as queue:
        found = await columns(queue)
    async with DuckDBHome(tmp_path / "tasks.duckdb").queue() as queue:
        for view in VIEWS:
            answer = await queue.sql(f"select * from {view}")
            assert list(answer.columns) == found[view], view


async def test_each_question_of_wopr_can_be_asked(shared: PostgresHome) -> None:
    async with shared.queue() as queue:
        for text, name in questions().items():
            if name.startswith("_"):
                continue
            asked = re.sub(r"\?|\$\d+", "null", words(translated)(text) or "")
            asked = asked.replace("[:null]", "[:1]").replace("limit null", "limit 1")
            asked = asked.replace("%", "%%")
            await queue.storage.connections.rows(f"set search_path = wopr, public; {asked}")


async def test_sql_of_people_reads_and_is_bounded(shared: PostgresHome) -> None:
    settings = Settings(query_seconds=0.2)
    async with shared.queue(settings=settings) as queue:
        assert [{"a": 1, "b": "?"}] == list(await queue.sql("select ?::int as a, '?' as b", 1))
        assert ("id",) == (await queue.sql("select id from tasks")).columns
        cut = await queue.sql("select * from generate_series(1, 10)", limit=3)
        assert (3, True) == (len(cut), cut.truncated)
        for wrong in ("delete from tasks", "select 1; drop table wopr.tasks", "no sql at all"):
            with pytest.raises(QueryError):
                await queue.sql(wrong)
        with pytest.raises(QueryTimeoutError, match="WOPR_TASKS_QUERY_SECONDS"):
            await queue.sql("select pg_sleep(60)")


async def test_what_is_not_there_says_what_is(shared: PostgresHome) -> None:
    async with shared.queue() as queue:
        with pytest.raises(InvalidCallError, match="pg_dump"):
            await queue.backup("copy.duckdb")


async def test_an_address_is_told_without_its_password() -> None:
    queue = TaskQueue(enabled=True, database="postgresql://me:secret@127.0.0.1:1/none")
    with pytest.raises(StorageError, match="Is the server up") as caught:
        await queue.get_task_stats()
    assert "secret" not in f"{caught.value} {queue.database} {queue.database!r}"


def test_each_difference_is_a_row_of_the_page() -> None:
    page = (ROOT / "docs" / "reference" / "homes.md").read_text(encoding="utf-8")
    rows = set(re.findall(r'<a id="(\w+)"></a>', page))
    assert set(POSTGRES.values()) | set(POSTGRES_FILES.values()) <= rows
    tests = "".join(
        one.read_text(encoding="utf-8") for one in (ROOT / "tests" / "behaviour").rglob("test_*.py")
    )
    assert [] == [name for name in POSTGRES if f"def {name}(" not in tests]


async def test_moments_that_python_does_not_have_are_its_first_and_last(
    shared: PostgresHome, tmp_path: Path
) -> None:
    asked = ", ".join(
        f"'{moment}'::{kind} as {kind}_{number}"
        for number, moment in enumerate(("infinity", "-infinity", "2026-01-02"))
        for kind in ("timestamp", "date")
    )
    async with shared.queue() as queue:
        there = list(await queue.sql(f"select {asked}"))
        zoned = (await queue.sql("select 'infinity'::timestamptz, '4000-01-01 BC'::timestamp")).rows
    async with DuckDBHome(tmp_path / "tasks.duckdb").queue() as queue:
        assert list(await queue.sql(f"select {asked}")) == there
    assert [(9999, 1)] == [(last.year, first.year) for last, first in zoned]


async def test_failures_are_found_without_the_history_of_what_did_not_fail(
    shared: PostgresHome,
) -> None:
    asked = selecting._CONDITIONS["error"].replace("%(error)s", "'no'")
    async with shared.queue() as queue:

        async def plan(connection: Any) -> str:
            await connection.execute("set enable_seqscan = off")
            cursor = await connection.execute(f"explain select from wopr.tasks where {asked}")
            return str(await cursor.fetchall())

        assert "transitions_failed" in await queue.storage.connections.lone(plan)
