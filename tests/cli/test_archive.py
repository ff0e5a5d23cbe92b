"""``wopr archive``: old tasks leave the file for Parquet files, also beside a running owner."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.commands import Call, Database, call
from support.owners import end, start_owner
from support.parquet import ids


def test_an_archive_says_how_many_and_what_to_set(
    wopr: Call, database: Database, tmp_path: Path
) -> None:
    answer = wopr("archive", tmp_path / "old", "--days", "0")
    assert (0, "2 tasks archived.\n") == (answer.code, answer.out)
    assert f"set WOPR_TASKS_ARCHIVE={tmp_path / 'old'}" in answer.err
    assert sorted([database.succeeded, database.failed]) == ids(tmp_path / "old")
    assert 1 == wopr("stats", "--json").json["total"]
    [act] = wopr("acts", "--json").json["acts"]
    assert ("archive", 2) == (act["verb"], act["changed"])


def test_a_dry_run_writes_and_deletes_nothing(wopr: Call, tmp_path: Path) -> None:
    answer = wopr("archive", tmp_path / "old", "--days", "0", "--dry-run", "--json")
    assert {"archived": 0, "found": 2, "dry_run": True} == answer.json
    assert not (tmp_path / "old").exists()
    assert 3 == wopr("stats", "--json").json["total"]


def test_questions_of_the_command_span_file_and_archive(
    wopr: Call, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WOPR_TASKS_ARCHIVE", str(tmp_path / "old"))
    assert "2 tasks would be archived.\n" == wopr("archive", "--days", "0", "--dry-run").out
    assert 0 == wopr("archive", "--days", "0").code
    for verb in ("archive", "cleanup"):  # what left is in the archive, and not to go again
        assert "0 tasks would be" in wopr(verb, "--days", "0", "--dry-run").out
    assert (
        3 == wopr("sql", "select count(*) as tasks from tasks", "--json").json["rows"][0]["tasks"]
    )
    assert "success" == wopr("tasks", "show", database.succeeded, "--json").json["status"]


def test_the_archive_is_asked_by_itself_where_the_database_can_not_read_it(
    wopr: Call, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = (
        "sql",
        "--archived",
        "select status, count(*) as n from tasks group by 1 order by 1",
    )
    assert "WOPR_TASKS_ARCHIVE is not set" in call(*question).err
    monkeypatch.setenv("WOPR_TASKS_ARCHIVE", str(tmp_path / "old"))
    assert (2, True) == ((missing := call(*question)).code, "There is no archive" in missing.err)
    assert 0 == wopr("archive", "--days", "0").code
    elsewhere = ("--database", "postgresql://nobody@127.0.0.1:9/none")
    found = call(*question, *elsewhere, "--json").json["rows"]
    assert [("failed", 1), ("success", 1)] == [(one["status"], one["n"]) for one in found]
    read = f"select * from read_text('{database.path}')"
    assert 0 != call("sql", "--archived", read).code
    assert 2 == call(*question, "--parquet").code


def test_beside_an_owner_it_archives_to_where_the_owner_does(
    database: Database, tmp_path: Path
) -> None:
    owner = start_owner(database.path, WOPR_TASKS_ARCHIVE=str(tmp_path / "old"))
    try:
        other = call("archive", tmp_path / "other", "--days", "0", "-d", database.path)
        assert 3 == other.code
        assert f"archives to {tmp_path / 'old'}, so nothing was archived to" in other.err
        assert not (tmp_path / "other").exists()
        right = call("archive", tmp_path / "old", "--days", "0", "-d", database.path)
        assert (0, "2 tasks archived.\n") == (right.code, right.out)
        bare = call("archive", "--days", "0", "-d", database.path)
        assert (0, "0 tasks archived.\n") == (bare.code, bare.out)
    finally:
        end(owner)


def test_an_owner_without_an_archive_is_told_of(database: Database, tmp_path: Path) -> None:
    owner = start_owner(database.path)
    try:
        answer = call("archive", tmp_path / "old", "--days", "0", "-d", database.path)
        assert 3 == answer.code
        assert "archives to no directory" in answer.err
        assert f"Start it with WOPR_TASKS_ARCHIVE={tmp_path / 'old'}" in answer.err
    finally:
        end(owner)


def test_without_an_age_it_is_wrong_use(wopr: Call, tmp_path: Path) -> None:
    assert 2 == wopr("archive", tmp_path / "old").code
