"""The tables on PostgreSQL are made, and brought up to date, beside hosts at work."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from support.postgres import need_server, new_database
from support.queues import PATIENCE, PostgresHome
from wopr import SchemaError
from wopr.cli.main import app
from wopr.domain.address import PostgresAddress
from wopr.storage.postgres import schema
from wopr.storage.postgres.connections import Connections

LATER = """-- What a release to come may bring.
alter table wopr.tasks add column later text not null default '';
create index tasks_later on wopr.tasks (later);
"""
ADDITIVE = re.compile(
    r"^(create (table|index|unique index|function|view|sequence)|alter table wopr\.\w+ add column"
    r"|insert into wopr\.|comment on|do \$\$)"
)


@pytest.fixture
def own() -> PostgresHome:
    """Return a database whose tables may be changed, with those of the first release."""
    need_server()
    import psycopg

    address = new_database(f"wopr_upgrades_{next(_numbers)}")
    with psycopg.connect(PostgresAddress(address).conninfo) as connection:
        connection.execute(schema.steps()[schema.FIRST])
        connection.execute("insert into wopr.meta (key, value) values ('version', '0009')")
    return PostgresHome(address)


_numbers = iter(range(100))


def wopr(*args: str) -> tuple[int, Any]:
    """Run a command; return its exit code and document."""
    answer = CliRunner().invoke(app, [*args, "--json"])
    return answer.exit_code, json.loads(answer.stdout)


async def test_processes_that_upgrade_at_once_do_it_once(own: PostgresHome) -> None:
    command = [sys.executable, "-m", "wopr", "db", "upgrade", "--json", "-d", own.address]
    pipe = asyncio.subprocess.PIPE
    both = [await asyncio.create_subprocess_exec(*command, stdout=pipe) for _ in range(2)]
    answers = [json.loads((await one.communicate())[0]) for one in both]
    assert [0, 0] == [one.returncode for one in both]
    assert {schema.head()} == {answer["after"] for answer in answers}
    assert schema.FIRST in {answer["before"] for answer in answers}
    async with own.queue() as queue:
        names = await queue.sql("select value from meta where key = 'identity'")
        assert 1 == len(names)


async def test_who_waited_while_another_one_made_the_tables_finds_them() -> None:
    need_server()
    connections = Connections(PostgresAddress(new_database("wopr_upgrades_race")), 1, 5)
    async with (
        await connections.connect() as looking,
        await connections.connect() as maker,
        maker.transaction(),
    ):
        await maker.execute("select pg_advisory_xact_lock(%s)", [schema._LOCK])
        tried = asyncio.create_task(schema.prepare(connections))
        waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        while not (await (await looking.execute(waits)).fetchone())[0]:
            assert not tried.done()
        for script in [*schema.steps().values(), schema.views()]:
            await maker.execute(script)
        added = "insert into wopr.meta (key, value) values ('version', %s)"
        await maker.execute(added, [schema.head()])
    assert schema.head() == (await tried)[0]


async def test_an_upgrade_happens_while_a_queue_works(
    own: PostgresHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with own.queue() as working:
        begun = asyncio.Event()

        @working.task(name="double")
        async def double(number: int) -> int:
            begun.set()
            return 2 * number

        first = await double.enqueue_many([(number,) for number in range(100)])
        await working.start_workers("default", 2)
        await begun.wait()
        known = schema.steps()
        with monkeypatch.context() as later:
            later.setattr(schema, "steps", lambda: {**known, "9999": LATER})
            async with own.queue() as newer:
                newer.task(name="double")(double.function)
                second = await newer.enqueue("double", (1,))
                assert 2 == await second.result(timeout=PATIENCE)
                assert ("later",) == (await newer.sql("select later from tasks")).columns
        assert 4 == await (await double.enqueue(2)).result(timeout=PATIENCE)
        for number, one in enumerate(first):
            assert 2 * number == await one.result(timeout=PATIENCE)
    with pytest.raises(SchemaError, match=r"9999.*pip install --upgrade wopr"):
        async with own.queue() as older:
            await older.get_task_stats()


async def test_an_upgrade_that_fails_changes_nothing(
    own: PostgresHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = Connections(PostgresAddress(own.address), 1, 5)
    broken = LATER + "select no_such_function();"
    known = schema.steps()
    monkeypatch.setattr(schema, "steps", lambda: {**known, "9999": broken})
    with pytest.raises(Exception, match="no_such_function"):
        await schema.prepare(connections)
    assert schema.FIRST == await schema.current(connections)


async def test_an_upgrade_goes_behind_those_who_use_a_table(
    own: PostgresHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = Connections(PostgresAddress(own.address), 1, 5)
    known = schema.steps()
    monkeypatch.setattr(schema, "steps", lambda: {**known, "9999": LATER})
    other = await connections.reserved("select from wopr.tasks")
    tried = asyncio.create_task(schema.prepare(connections))
    waiting = "select count(*) from pg_locks where not granted"
    async with await connections.connect() as looking:
        while not (await (await looking.execute(waiting)).fetchone())[0]:
            assert not tried.done()
        while (await (await looking.execute(waiting)).fetchone())[0]:  # it has given way once
            assert not tried.done()
    await other.close()
    assert schema.FIRST == (await tried)[0]


@pytest.mark.parametrize(
    "statement",
    [
        "insert into wopr.transitions (seq, task_id, attempt, to_status, occurred_at, reason) "
        "values (1, gen_random_uuid(), 0, 'pending', now(), 'add')",
        "select count(*) from wopr.history",
    ],
    ids=["a host", "a question"],
)
async def test_an_upgrade_and_who_has_begun_to_use_tables_do_not_wait_for_each_other(
    own: PostgresHome, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    connections = Connections(PostgresAddress(own.address), 1, 5)
    newest = schema.steps()
    with monkeypatch.context() as before:
        before.setattr(schema, "steps", lambda: {one: newest[one] for one in list(newest)[:3]})
        await schema.prepare(connections)
    other = await connections.reserved("lock table wopr.tasks in row exclusive mode")
    tried = asyncio.create_task(schema.prepare(connections))
    waiting = "select count(*) from pg_locks where not granted"
    async with await connections.connect() as looking:
        while not (await (await looking.execute(waiting)).fetchone())[0]:
            assert not tried.done()
    await other.execute(statement)
    await other.execute("commit")
    await other.close()
    assert "0011" == (await tried)[0]


async def test_an_upgrade_and_a_question_do_not_wait_for_each_other(
    own: PostgresHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = Connections(PostgresAddress(own.address), 1, 5)
    await schema.prepare(connections)
    held = LATER + "select pg_advisory_xact_lock(1);"
    known, bring_up, tries = schema.steps(), schema._bring_up, []

    async def counted(*given: Any) -> str | None:
        tries.append(1)
        return await bring_up(*given)

    monkeypatch.setattr(schema, "steps", lambda: {**known, "9999": held})
    monkeypatch.setattr(schema, "_bring_up", counted)
    monkeypatch.setattr(schema, "LOCK_SECONDS", PATIENCE)
    waiting = "select count(distinct pid) from pg_locks where not granted"
    async with await connections.connect() as looking, await connections.connect() as asking:
        await looking.execute("select pg_advisory_lock(1)")
        tried = asyncio.create_task(schema.prepare(connections))
        while not (await (await looking.execute(waiting)).fetchone())[0]:
            assert not tried.done()
        asked = asyncio.create_task(asking.execute("select count(*) from wopr.history"))
        while (await (await looking.execute(waiting)).fetchone())[0] < 2:
            assert not asked.done()
        await looking.execute("select pg_advisory_unlock(1)")
        assert (0,) == await (await asked).fetchone()
        await tried
    assert [1] == tries


def test_the_commands_tell_and_do(own: PostgresHome) -> None:
    newest, to_come = schema.head(), list(schema.steps())[1:]
    assert "0009" == wopr("db", "current", "-d", own.address)[1]["current"]
    _, plan = wopr("db", "upgrade", "--plan", "-d", own.address)
    assert (to_come, None) == ([step["revision"] for step in plan["steps"]], plan["copy"])
    code, found = wopr("db", "check", "-d", own.address)
    assert (1, True) == (code, "view history is missing" in found["differences"])
    assert "0009" == wopr("db", "upgrade", "-d", own.address)[1]["before"]
    code, found = wopr("db", "check", "-d", own.address)
    assert (0, []) == (code, found["differences"])
    _, told = wopr("db", "history", "-d", own.address)
    assert (newest, {True}) == (told["current"], {one["applied"] for one in told["revisions"]})
    shown = CliRunner().invoke(app, ["db", "history", "-d", own.address]).stdout
    assert "0010  A queue has a name of its own" in shown


def test_what_is_not_there_is_told() -> None:
    address = new_database("wopr_upgrades_none")
    assert wopr("db", "current", "-d", address)[1]["current"] is None
    answer = CliRunner().invoke(app, ["db", "check", "-d", address])
    assert (3, True) == (answer.exit_code, "wopr db upgrade" in answer.output)
    shown = CliRunner().invoke(app, ["db", "upgrade", "--plan", "-d", address]).stdout
    assert "0009  The tables of a queue that many hosts share." in shown


def test_upgrades_only_add() -> None:
    for revision, text in schema.steps().items():
        assert text.startswith("-- "), revision
        if revision == schema.FIRST:
            continue
        for statement in re.sub(r"--.*", "", text).split(";"):
            said = " ".join(statement.split()).lower()
            assert not said or ADDITIVE.match(said), f"{revision}: {said}"
