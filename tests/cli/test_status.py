"""``wopr status`` and ``wopr explain``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.commands import NASTY, Call, Database, call
from support.owners import end, start_owner
from wopr import TaskQueue


def test_work_that_nobody_does_is_the_first_thing_said(wopr: Call, database: Database) -> None:
    answer = wopr("status")
    assert 1 == answer.code
    assert [
        "Nothing runs: 1 task waits, 0 of them due.",
        "1. No worker process: nobody runs tasks of this queue.",
        f"   $ wopr worker module:queue -d {database.path}",
    ] == answer.out.splitlines()


def test_what_mends_it_is_about_the_database_that_was_asked(
    wopr: Call, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"$ wopr worker module:queue -d {database.path}\n" in wopr("status").out
    monkeypatch.setenv("WOPR_TASKS_DATABASE", str(database.path))
    assert "$ wopr worker module:queue\n" in call("status").out


def test_what_mends_it_names_the_user_of_a_server_and_no_password() -> None:
    answer = call("status", "-d", "postgresql://ada:hunter2@127.0.0.1:9/jobs?connect_timeout=1")
    assert 3 == answer.code
    here = "'postgresql://ada@127.0.0.1:9/jobs?connect_timeout=1'"
    assert f"   $ wopr doctor -d {here}" == answer.out.splitlines()[-1]
    assert "hunter2" not in answer.out + answer.err


def test_as_json_each_reason_has_its_fields(wopr: Call, database: Database) -> None:
    answer = wopr("status", "--json")
    assert ("stopped", 1) == (answer.json["state"], answer.json["waiting"])
    assert str(database.path) == answer.json["database"]
    [reason] = answer.json["reasons"]
    assert ("no worker process", "stopped") == (reason["kind"], reason["severity"])


def test_where_nothing_waits_nothing_is_held(tmp_path: Path) -> None:
    async def make() -> None:
        async with TaskQueue(enabled=True, database=tmp_path / "new.duckdb"):
            pass

    asyncio.run(make())
    answer = call("status", "-d", tmp_path / "new.duckdb")
    assert (0, "Nothing is to be done.") == (answer.code, answer.out.splitlines()[0])


@pytest.mark.parametrize(
    ("content", "said"), [(None, "There is no database file"), (b"no" * 9_000, "database")]
)
def test_a_file_that_can_not_be_used_is_an_answer_and_an_exit_code(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "tasks.duckdb"
    if content is not None:
        path.write_bytes(content)
    answer = call("status", "-d", path)
    assert 3 == answer.code
    assert f"Nothing runs: {path} can't be used." == answer.out.splitlines()[0]
    assert said in answer.out.splitlines()[1]
    assert 3 == call("status", "-d", path, "--json").code


def test_beside_a_running_owner_it_is_the_owner_who_answers(tmp_path: Path) -> None:
    owner = start_owner(tmp_path / "tasks.duckdb")
    try:
        answer = call("status", "-d", tmp_path / "tasks.duckdb", "--json")
        assert (0, owner.pid) == (answer.code, answer.json["owner"])
    finally:
        end(owner)


def test_a_name_of_an_attacker_can_not_draw_on_the_terminal(wopr: Call) -> None:
    assert 0 == wopr("pause", "--task", "x\x1b[31m", "--reason", NASTY).code
    out = wopr("status").out
    assert "\x1b" not in out
    assert "second line" in out


def test_explain_takes_a_task_a_category_a_name_a_flow_or_a_schedule(
    wopr: Call, database: Database
) -> None:
    assert "no process has the database open" in wopr("explain", database.delayed).out
    assert "Category 'sums': 0 workers, 0 run, 1 wait" in wopr("explain", "-c", "sums").out
    named = wopr("explain", "--name", "double", "--json")
    assert ("name", "no worker process") == (named.json["about"], named.json["reason"])
    for wrong in (("--flow", "0"), ("--schedule", "nightly")):
        answer = wopr("explain", *wrong)
        assert (1, "") == (answer.code, answer.out)


def test_explain_wants_one_thing(wopr: Call, database: Database) -> None:
    for words in ((), ("-c", "a", "-n", "b"), (database.delayed, "-c", "a")):
        answer = wopr("explain", *words)
        assert 2 == answer.code
        assert "Name one thing" in answer.err


def test_a_schedule_that_nobody_fires_says_so(wopr: Call, database: Database) -> None:
    async def add() -> None:
        async with TaskQueue(enabled=True, database=database.path) as queue:

            @queue.task(name="double")
            async def double(number: int) -> None: ...

            await queue.schedules.add("nightly", double, cron="0 3 * * *", args=(1,))

    asyncio.run(add())
    answer = wopr("explain", "--schedule", "nightly", "--json").json
    assert "no worker process" == answer["reason"]
    assert "no worker process fires it" in answer["text"]
