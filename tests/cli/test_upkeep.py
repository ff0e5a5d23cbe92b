"""``wopr cleanup``, ``compact``, ``doctor`` and ``db``."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from support.commands import Call, Database, call
from support.queues import PATIENCE
from wopr import TaskQueue
from wopr.storage.duckdb.file import migrate


def total(wopr: Call) -> int:
    return int(wopr("stats", "--json").json["total"])


def test_cleanup_deletes_what_has_ended(wopr: Call) -> None:
    answer = wopr("cleanup", "--days", 0)
    assert (0, "2 tasks deleted.\n") == (answer.code, answer.out)
    assert 1 == total(wopr)
    assert True is wopr("doctor", "--json").json["clean"]


def test_cleanup_deletes_nothing_younger(wopr: Call) -> None:
    answer = wopr("cleanup", "--days", 1, "--months", 1, "--years", 1, "--json")
    assert {"deleted": 0, "found": 0, "dry_run": False} == answer.json
    assert 3 == total(wopr)


def test_a_dry_run_only_counts(wopr: Call) -> None:
    assert "2 tasks would be deleted.\n" == wopr("cleanup", "--days", 0, "--dry-run").out
    assert {"deleted": 0, "found": 2, "dry_run": True} == (
        wopr("cleanup", "--days", 0, "--dry-run", "--json").json
    )
    assert 3 == total(wopr)


def test_history_can_be_kept_and_the_doctor_has_no_complaint(wopr: Call) -> None:
    assert 2 == wopr("cleanup", "--days", 0, "--keep-history", "--json").json["deleted"]
    report = wopr("doctor", "--json").json
    assert (True, 1, 7) == (report["clean"], report["tasks"], report["transitions"])


def test_cleanup_asks_how_old(wopr: Call) -> None:
    assert "--days N" in wopr("cleanup").err


def test_compact_keeps_every_task(wopr: Call) -> None:
    sizes = wopr("compact", "--json").json
    assert 0 < sizes["bytes_after"] <= sizes["bytes_before"]
    assert 3 == total(wopr)


def test_a_healthy_file_is_well(wopr: Call) -> None:
    answer = wopr("doctor")
    assert (0, "3 tasks and 7 transitions checked: all is well.\n") == (answer.code, answer.out)


def test_the_doctor_names_the_task_and_what_is_off(wopr: Call, database: Database) -> None:
    with duckdb.connect(str(database.path)) as connection:
        connection.execute("update tasks set status = 'cancelled' where name = 'nasty'")
    answer = wopr("doctor", "--json")
    assert 1 == answer.code
    [problem] = answer.json["problems"]
    assert {
        "kind": "row differs",
        "text": "status",
        "task_id": database.failed,
        "expected": "failed",
        "actual": "cancelled",
    } == problem
    shown = wopr("doctor")
    assert 1 == shown.code
    assert database.failed in shown.out
    assert "1 problem found" in shown.out


def test_the_list_of_problems_is_bounded(wopr: Call, database: Database) -> None:
    with duckdb.connect(str(database.path)) as connection:
        connection.execute("update tasks set retry_count = 9")
    report = wopr("doctor", "--limit", 1, "--json").json
    assert (1, 2) == (len(report["problems"]), report["unlisted"])


def test_the_schema_is_the_newest(wopr: Call) -> None:
    newest = migrate.head()
    assert {"current": newest, "newest": newest} == wopr("db", "current", "--json").json
    assert {"before": newest, "after": newest} == wopr("db", "upgrade", "--json").json
    assert {"differences": []} == wopr("db", "check", "--json").json
    for command in ("current", "upgrade", "check"):
        assert (0, newest in wopr("db", command).out or command == "check") == (0, True)


def test_db_check_finds_what_is_missing(wopr: Call, database: Database) -> None:
    with duckdb.connect(str(database.path)) as connection:
        connection.execute("drop view backlog")
    answer = wopr("db", "check")
    assert (1, "view backlog is missing\n") == (answer.code, answer.out)


def test_a_foreign_file_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "foreign.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table invoices (id integer)")
    before = path.read_bytes()
    for words in (("db", "upgrade"), ("doctor",), ("stats",)):
        answer = call(*words, "-d", path)
        assert (3, "") == (answer.code, answer.out)
        assert "Traceback" not in answer.err
    assert before == path.read_bytes()
    assert "none of wopr" in call("db", "current", "-d", path).out


@pytest.mark.parametrize("command", ["doctor", "compact"])
def test_bars_stay_out_of_pipes(wopr: Call, command: str) -> None:
    assert "" == wopr(command).err


@pytest.mark.parametrize(
    "command", [("stats",), ("doctor",), ("tasks", "list"), ("cleanup", "--days", 1)]
)
def test_an_empty_file_and_a_link_to_nothing_stay_what_they_are(
    tmp_path: Path, command: tuple[object, ...]
) -> None:
    empty, link = tmp_path / "empty.duckdb", tmp_path / "link.duckdb"
    empty.touch()
    link.symlink_to(tmp_path / "nowhere.duckdb")
    for path, said in ((empty, "is an empty file"), (link, "There is no database file")):
        answer = call(*command, "-d", path)
        assert answer.code
        assert said in answer.err
    assert {empty, link} == set(tmp_path.iterdir())
    assert 0 == empty.stat().st_size


def test_the_schema_of_a_file_of_another_program_is_not_compared(tmp_path: Path) -> None:
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table mine (i int)")
    answer = call("db", "check", "-d", path)
    assert answer.code
    assert "is not a wopr file" in answer.err
    assert "mine" in answer.err


def test_a_dry_run_leaves_out_what_says_itself_that_it_is_kept(
    wopr: Call, database: Database
) -> None:
    queue = TaskQueue(enabled=True, database=database.path)
    one = queue.task(name="one")(lambda: 1)
    with queue.sync() as sync:
        sync(queue.start_workers)
        sync(sync(one.options(retain=3600).enqueue).result, timeout=PATIENCE)
    assert "2 tasks would be deleted.\n" == wopr("cleanup", "--days", 0, "--dry-run").out
    assert "2 tasks deleted.\n" == wopr("cleanup", "--days", 0).out
