"""``wopr backup``, ``wopr restore``, and what looks at a file that a process has open."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commands import Call, Database, call
from support.owners import end, start_owner
from wopr.storage.duckdb.file import migrate


@pytest.fixture
def owner(database: Database) -> Iterator[subprocess.Popen[str]]:
    """Have a process own the database."""
    process = start_owner(database.path)
    yield process
    end(process)


def test_a_backup_says_what_is_in_it_and_how_it_is_put_back(wopr: Call, tmp_path: Path) -> None:
    answer = wopr("backup", tmp_path / "copy.duckdb", "--verify")
    assert 0 == answer.code
    first, second = answer.out.splitlines()
    assert first.startswith(f"{tmp_path / 'copy.duckdb'}: 3 tasks and 7 transitions, checked, ")
    assert second.endswith(f"To put it back: wopr restore {tmp_path / 'copy.duckdb'}")


def test_a_backup_beside_a_running_owner_is_whole(
    wopr: Call, tmp_path: Path, owner: subprocess.Popen[str]
) -> None:
    made = wopr("backup", tmp_path / "copy.duckdb", "--verify", "--json").json
    assert (3, True, migrate.head()) == (made["tasks"], made["verified"], made["schema"])
    assert 3 == call("stats", "-d", tmp_path / "copy.duckdb", "--json").json["total"]


def test_a_file_that_is_there_is_not_replaced_unasked(wopr: Call, tmp_path: Path) -> None:
    (tmp_path / "copy.duckdb").write_bytes(b"precious")
    answer = wopr("backup", tmp_path / "copy.duckdb")
    assert 3 == answer.code
    assert "wopr backup --overwrite" in answer.err
    assert b"precious" == (tmp_path / "copy.duckdb").read_bytes()
    assert 0 == wopr("backup", tmp_path / "copy.duckdb", "--overwrite").code


def test_a_backup_that_can_not_be_is_no_matter_of_the_setting(wopr: Call, tmp_path: Path) -> None:
    nowhere = wopr("backup", tmp_path / "none" / "copy.duckdb")
    lacking = wopr("restore", tmp_path / "copy.duckdb")
    assert (3, 3) == (nowhere.code, lacking.code)
    assert f"There is no directory {tmp_path / 'none'} for the backup copy.duckdb." in nowhere.err
    assert f"There is no backup {tmp_path / 'copy.duckdb'}, " in lacking.err
    assert "WOPR_TASKS_DATABASE" not in nowhere.err + lacking.err


def test_a_restore_says_what_was_set_aside(wopr: Call, database: Database, tmp_path: Path) -> None:
    assert 0 == wopr("backup", tmp_path / "copy.duckdb").code
    assert 0 == wopr("tasks", "cancel", database.delayed).code
    answer = wopr("restore", tmp_path / "copy.duckdb")
    assert 0 == answer.code
    assert "3 tasks and 7 transitions, checked." in answer.out
    assert f"Set aside: {database.path}.quarantine-" in answer.out
    assert "pending" == wopr("tasks", "show", database.delayed, "--json").json["status"]


def test_a_restore_under_a_running_owner_is_refused(
    wopr: Call, tmp_path: Path, owner: subprocess.Popen[str]
) -> None:
    assert 0 == wopr("backup", tmp_path / "copy.duckdb").code
    answer = wopr("restore", tmp_path / "copy.duckdb")
    assert 3 == answer.code
    assert f"process {owner.pid}" in answer.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("db", "current"), f"{migrate.head()} (newest: {migrate.head()})"),
        (("db", "check"), "The schema is as it should be."),
        (("db", "upgrade", "--plan"), f"has the newest schema already: {migrate.head()}."),
        (("doctor",), "3 tasks and 7 transitions checked: all is well."),
    ],
)
def test_what_looks_at_the_file_looks_at_a_copy_beside_a_running_owner(
    wopr: Call,
    database: Database,
    owner: subprocess.Popen[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    answer = wopr(*words)
    assert 0 == answer.code
    assert said in answer.out
    assert "A process has the file open, so that is of a copy as of " in answer.err
    assert [] == list(database.path.parent.glob("*.new-*"))


def test_the_plan_of_an_upgrade_names_the_steps_and_changes_nothing(
    wopr: Call, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = migrate.summaries()
    monkeypatch.setattr(migrate, "current", lambda path: "0003")
    before = database.path.read_bytes()
    answer = wopr("db", "upgrade", "--plan")
    assert f"It would be copied to {database.path.name}.backup-0003, then:" in answer.out
    assert f"0004  {known['0004']}" in answer.out
    assert "0003  " not in answer.out
    plan = wopr("db", "upgrade", "--plan", "--json").json
    assert "0004" == plan["steps"][0]["revision"]
    assert before == database.path.read_bytes()


def test_each_revision_says_in_a_line_what_it_does() -> None:
    assert list(migrate.summaries()) == migrate.revisions()
    assert all(migrate.summaries().values())


def test_the_schema_of_a_closed_file_is_told_without_a_copy(wopr: Call) -> None:
    answer = wopr("db", "current")
    assert (0, "") == (answer.code, answer.err)


def test_a_database_that_is_not_there_can_not_be_backed_up(tmp_path: Path) -> None:
    answer = call("backup", tmp_path / "copy.duckdb", "-d", tmp_path / "none.duckdb")
    assert 3 == answer.code
    assert "There is no database file" in answer.err
    assert [] == list(tmp_path.iterdir())
