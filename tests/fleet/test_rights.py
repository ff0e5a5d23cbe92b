"""What people can ask of a queue on PostgreSQL, and what they can't, whatever they type."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from click.testing import CliRunner

from support.postgres import need_server, new_database
from support.queues import PostgresHome
from wopr import QueryError, QueryTimeoutError, Settings
from wopr.cli.main import app
from wopr.domain.address import PostgresAddress
from wopr.storage.postgres import asking
from wopr.storage.postgres.guarding import check

SECRET = "select word from public.secrets"
ATTACKS = {
    "another table": SECRET,
    "passwords of the server": "select rolpassword from pg_authid",
    "the role is reset": "reset role",
    "the role is set": "set role wopr",
    "another session": "set session authorization default",
    "the role is reset inside": "select set_config('role', 'none', true)",
    "in capitals": "SELECT pg_catalog.SET_CONFIG('role', 'none', true)",
    "as a quoted name": """select "set_config"('role', 'none', true)""",
    "as numbers": r"""select U&"set\005fconfig"('role', 'none', true)""",
    "no end to it": "select set_config('statement_timeout', '0', true)",
    "in a text that is run": f"select query_to_xml('{SECRET}', true, true, '')",
    "in parts that are run": "select query_to_xml('select set_' || 'config(1)', true, true, '')",
    "words of a table": f"select * from ts_stat('{SECRET}')",
    "a block": "do $$ begin execute 'reset role'; end $$",
    "a block in comments": "/* /* */ select */ do $$ begin execute 'reset role'; end $$",
    "a block behind a line": "-- select\rselect\n do $$ begin end $$",
    "a file is read": "select pg_read_file('/etc/passwd')",
    "a folder is read": "select pg_ls_dir('/')",
    "a file becomes an object": "select lo_import('/etc/passwd')",
    "an object becomes a file": "select lo_export(1, '/tmp/wopr')",
    "a program": "copy tasks to program 'id'",
    "a file is written": "copy (select 1) to '/tmp/wopr'",
    "another database": "select * from dblink('dbname=postgres', 'select 1') as t (a int)",
    "a lock": "select pg_advisory_lock(2003791986)",
    "others are ended": "select pg_terminate_backend(pid) from pg_stat_activity",
    "others are misled": "select pg_notify('wopr', 'w')",
    "a row is written": "with gone as (delete from tasks returning id) select * from gone",
    "a number is taken": "select nextval('wopr.numbers')",
    "a table is made": "create temp table mine (a int)",
    "a row is locked": "select * from tasks for update",
    "two at once": "select 1; reset role",
    "the end": "commit",
    "explained and done": "explain analyze delete from tasks",
    "nothing": "",
    "a long text": f"select '{'x' * 70_000}'",
}


@pytest.fixture
def secrets(shared: PostgresHome) -> Iterator[PostgresHome]:
    """Return a database that has a table of somebody else's."""
    with psycopg.connect(PostgresAddress(shared.address).conninfo, autocommit=True) as connection:
        connection.execute("create table public.secrets (word text)")
        connection.execute("insert into public.secrets values ('sesame')")
        yield shared
    with psycopg.connect(PostgresAddress(shared.address).conninfo, autocommit=True) as connection:
        connection.execute("drop table public.secrets")


async def test_nothing_but_the_tables_of_the_queue_is_read(secrets: PostgresHome) -> None:
    async with secrets.queue(settings=Settings(query_seconds=5)) as queue:
        await queue.get_task_stats()
        for what, text in ATTACKS.items():
            with pytest.raises(QueryError) as caught:
                await queue.sql(text)
            assert "sesame" not in str(caught.value), what
        assert "wopr_reader" == (await queue.sql("select current_user")).scalar()
        assert 0 == (await queue.sql("(select count(*) from history)")).scalar()
        assert "lo_" == (await queue.sql("select ?::text", "lo_")).scalar()


async def test_what_explains_is_bounded_in_time_too(shared: PostgresHome) -> None:
    async with shared.queue(settings=Settings(query_seconds=0.2)) as queue:
        with pytest.raises(QueryTimeoutError):
            await queue.sql("explain analyze select pg_sleep(60)")


async def test_what_can_not_be_answered_is_refused_once(shared: PostgresHome) -> None:
    refused = {
        "select ?": "requires 1",
        "select 1 where 1 = $1": "requires 1",
        f"select {', '.join(['1'] * 1_700)}": "at most 1664",
        "select lastval()": "not yet defined",
    }
    async with shared.queue(settings=Settings(call_seconds=60)) as queue:
        for text, said in refused.items():
            with pytest.raises(QueryError, match=said):
                await queue.sql(text)
        for kept in ("select '?', $a$ ? $a$ -- ?", "select 1 as a$b, 2 /* ? */", 'select 1 as "?"'):
            assert 1 == len(await queue.sql(kept)), kept
        assert 5 == (await queue.sql("select a$b from (select ?::int as a$b) as x", 5)).scalar()


async def test_an_answer_is_bounded_by_all_that_is_in_its_values(shared: PostgresHome) -> None:
    async with shared.queue() as queue:
        for value in (
            "array(select generate_series(1, 100000))",
            "(select json_agg(one) from generate_series(1, 100000) as one)",
            "(select json_object_agg(one, 'x') from generate_series(1, 50000) as one)",
        ):
            answer = await queue.sql(f"select {value} from generate_series(1, 40)")
            assert (True, True) == (0 < len(answer) < 40, answer.truncated), value


@pytest.mark.parametrize("begin", ["/* ", "$a$b$", "$$$"])
def test_beginnings_without_an_end_are_looked_for_once(begin: str) -> None:
    text = f"select 1 {begin * 200_000}"
    assert text == asking._numbered(text)


def test_what_reads_is_let_through() -> None:
    for text in (
        "select 1",
        " /* a /* b */ c */ -- d\n WITH a as (values (1)) table a",
        "((select 1)) union (select 2)",
        "show server_version",
        "explain select * from tasks where name like 'hello_%' and category = 'flow_1'",
    ):
        check(text)


async def test_a_user_without_the_role_is_told_what_an_administrator_does() -> None:
    need_server()
    address = new_database("wopr_rights")
    with psycopg.connect(PostgresAddress(address).conninfo, autocommit=True) as connection:
        connection.execute("create role wopr_app login")
        connection.execute("grant create on database wopr_rights to wopr_app")
        own = address.replace("wopr@", "wopr_app@")
        async with PostgresHome(own).queue() as queue:
            assert "wopr_app" == (await queue.sql("select current_user")).scalar()
            told = await asyncio.to_thread(CliRunner().invoke, app, ["db", "check", "-d", own])
            assert (1, True) == (told.exit_code, "grant wopr_reader to the user" in told.output)
            for said in (
                "create role wopr_reader nologin",
                "grant usage on schema wopr to wopr_reader",
                "grant select on all tables in schema wopr to wopr_reader",
                "grant wopr_reader to wopr_app",
            ):
                try:
                    connection.execute(said)
                except psycopg.errors.DuplicateObject:
                    """Another database of this server has made it."""
            assert "wopr_reader" == (await queue.sql("select current_user")).scalar()
            told = await asyncio.to_thread(CliRunner().invoke, app, ["db", "check", "-d", own])
            assert (0, "as it should be" in told.output) == (told.exit_code, True)
