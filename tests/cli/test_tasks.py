"""``wopr tasks``."""

from __future__ import annotations

import pytest

from support.commands import NASTY, Call, Database


def test_list_shows_the_newest_first_with_full_ids(wopr: Call, database: Database) -> None:
    answer = wopr("tasks", "list")
    assert 0 == answer.code
    lines = answer.out.splitlines()[2:]
    assert [database.delayed, database.failed, database.succeeded] == [
        line.split()[0] for line in lines
    ]


def test_list_as_json_is_one_document(wopr: Call, database: Database) -> None:
    answer = wopr("tasks", "list", "--json")
    tasks = answer.json["tasks"]
    assert [database.delayed, database.failed, database.succeeded] == [t["id"] for t in tasks]
    assert {"doubled": 42} == tasks[2]["result"]
    assert tasks[2]["created_at"].endswith("+00:00")
    assert None is answer.json["next_cursor"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--category", "sums"), ["delayed", "succeeded"]),
        (("-s", "failed"), ["failed"]),
        (("--name", "double", "--status", "pending"), ["delayed"]),
        (("--name", "nobody"), []),
    ],
)
def test_list_filters(
    wopr: Call, database: Database, options: tuple[str, ...], expected: list[str]
) -> None:
    tasks = wopr("tasks", "list", *options, "--json").json["tasks"]
    assert [getattr(database, name) for name in expected] == [task["id"] for task in tasks]


def test_list_pages_by_cursor(wopr: Call, database: Database) -> None:
    first = wopr("tasks", "list", "--limit", 2, "--json").json
    assert database.failed == first["next_cursor"]
    second = wopr("tasks", "list", "--limit", 2, "--cursor", first["next_cursor"], "--json").json
    assert [database.succeeded] == [task["id"] for task in second["tasks"]]
    assert None is second["next_cursor"]


def test_list_says_how_to_go_on(wopr: Call, database: Database) -> None:
    assert f"--cursor {database.delayed}" in wopr("tasks", "list", "-l", 1).out


def test_list_says_when_nothing_matches(wopr: Call) -> None:
    assert "No tasks match.\n" == wopr("tasks", "list", "--status", "started").out


def test_a_cursor_of_nothing_is_a_no(wopr: Call) -> None:
    answer = wopr("tasks", "list", "--cursor", "0" * 8, "--json")
    assert (1, "TaskNotFoundError") == (answer.code, answer.json["error"]["type"])


def test_show_tells_all_of_a_task(wopr: Call, database: Database) -> None:
    out = wopr("tasks", "show", database.succeeded).out
    for expected in (database.succeeded, "double", "sums", "NORMAL", "success", "[21]", "42"):
        assert expected in out


def test_show_as_json(wopr: Call, database: Database) -> None:
    info = wopr("tasks", "show", database.failed, "--json").json
    assert ("failed", "ValueError", [NASTY]) == (info["status"], info["error_type"], info["args"])


@pytest.mark.parametrize("command", ["show", "history", "explain"])
@pytest.mark.parametrize("task_id", ["nonsense", "01890000-0000-7000-8000-000000000000"])
def test_an_unknown_task_is_a_no(wopr: Call, command: str, task_id: str) -> None:
    answer = wopr("tasks", command, task_id)
    assert (1, "") == (answer.code, answer.out)
    assert f"There is no task '{task_id}'" in answer.err
    assert "Traceback" not in answer.err


def test_cancel_takes_several_ids_and_says_why_not(wopr: Call, database: Database) -> None:
    answer = wopr("tasks", "cancel", database.delayed, database.succeeded, "nobody")
    assert 1 == answer.code
    assert [
        f"{database.delayed} cancelled",
        f"{database.succeeded} not cancelled: it is success",
        "nobody not cancelled: there is no such task",
    ] == answer.out.splitlines()
    assert "cancelled" == wopr("tasks", "show", database.delayed, "--json").json["status"]


def test_retry_puts_a_failed_task_back(wopr: Call, database: Database) -> None:
    answer = wopr("tasks", "retry", database.failed, "--json")
    assert 0 == answer.code
    result = {"id": database.failed, "changed": True, "why": None}
    assert {"results": [result], "act": 1} == answer.json
    assert "pending" == wopr("tasks", "show", database.failed, "--json").json["status"]


def test_history_lists_every_move(wopr: Call, database: Database) -> None:
    entries = wopr("tasks", "history", database.failed, "--json").json["history"]
    assert ["pending", "started", "failed"] == [entry["to_status"] for entry in entries]
    assert "ValueError" in entries[2]["traceback"]
    shown = wopr("tasks", "history", database.failed).out
    assert "Traceback" not in shown
    assert ["0", "1", "1"] == [line.split()[3] for line in shown.splitlines()[2:]]


def test_history_prints_tracebacks_when_asked(wopr: Call, database: Database) -> None:
    assert (
        "Traceback (most recent call last)" in wopr("tasks", "history", database.failed, "-t").out
    )


def test_explain_says_that_nobody_works(wopr: Call, database: Database) -> None:
    answer = wopr("tasks", "explain", database.delayed)
    assert "no process has the database open" in answer.out
    assert "It is due at" in answer.out
    assert "wopr worker module:queue -c sums:4" in answer.out
    reason = wopr("tasks", "explain", database.delayed, "--json").json["reason"]
    assert "no worker process" == reason


def test_explain_of_a_cancelled_task_says_why(wopr: Call, database: Database) -> None:
    wopr("revoke", "double", "--reason", "wrong price")
    assert "The reason: wrong price." in wopr("tasks", "explain", database.delayed).out


def test_explain_of_an_ended_task(wopr: Call, database: Database) -> None:
    assert "It ended success" in wopr("tasks", "explain", database.succeeded).out


@pytest.mark.parametrize(
    "words",
    [
        ("tasks", "list"),
        ("tasks", "show", "FAILED"),
        ("tasks", "history", "FAILED", "--traceback"),
        ("tasks", "explain", "FAILED"),
        ("stats",),
        ("sql", "select * from failures"),
        ("sql", "select 'a' || chr(27) || '[2J' as \"x\x1b[1m\""),
    ],
)
def test_what_is_stored_gives_the_terminal_no_orders(
    wopr: Call, database: Database, words: tuple[str, ...]
) -> None:
    answer = wopr(*(database.failed if word == "FAILED" else word for word in words))
    assert 0 == answer.code
    for letter in "\x1b\x07\u202e":
        assert letter not in answer.out + answer.err
