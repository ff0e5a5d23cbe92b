"""The contract with programs: what every command prints with --json is told by a schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.commands import Answer, Call, Database, call
from support.documents import DOCUMENTS
from support.matching import check_document, problems
from support.schemas import SCHEMA, written
from wopr.cli.main import app

ELSEWHERE = {"demo", "move", "worker"}
"""What is checked where it is run anyway: test_demo.py, test_worker.py, tests/moving."""

LINES: dict[str, tuple[str, ...]] = {
    "acts": ("acts",),
    "alerts add": ("alerts", "add", "late", "--when", "slow", "--threshold", "60"),
    "alerts list": ("alerts", "list"),
    "alerts remove": ("alerts", "remove", "late"),
    "archive": ("archive", "FOLDER/old", "--days", "0"),
    "backup": ("backup", "FOLDER/backup.duckdb"),
    "cleanup": ("cleanup", "--days", "30", "--dry-run"),
    "compact": ("compact",),
    "config show": ("config", "show", "--origin"),
    "db accept": ("db", "accept"),
    "db check": ("db", "check"),
    "db current": ("db", "current"),
    "db history": ("db", "history"),
    "db upgrade": ("db", "upgrade", "--plan"),
    "doctor": ("doctor",),
    "eta": ("eta",),
    "explain": ("explain", "--category", "sums"),
    "export": ("export", "FOLDER/exported"),
    "init": ("init", "a-worker", "--path", "FOLDER/project"),
    "limits set": ("limits", "set", "sums", "--rate", "5/s", "--key", "number"),
    "limits list": ("limits", "list"),
    "limits remove": ("limits", "remove", "sums"),
    "pause": ("pause", "sums"),
    "restore": ("restore", "FOLDER/backup.duckdb"),
    "resume": ("resume", "sums"),
    "revoke": ("revoke", "nobody", "--standing"),
    "sql": ("sql", "select * from tasks"),
    "series": ("series",),
    "stats": ("stats",),
    "status": ("status",),
    "tasks cancel": ("tasks", "cancel", "DELAYED"),
    "tasks delay": ("tasks", "delay", "--name", "double", "--by", "1h"),
    "tasks explain": ("tasks", "explain", "DELAYED"),
    "tasks history": ("tasks", "history", "FAILED"),
    "tasks list": ("tasks", "list"),
    "tasks logs": ("tasks", "logs", "FAILED"),
    "tasks move": ("tasks", "move", "--name", "double", "--to", "other", "--dry-run"),
    "tasks retry": ("tasks", "retry", "FAILED"),
    "tasks run-again": ("tasks", "run-again", "--status", "success"),
    "tasks set-priority": ("tasks", "set-priority", "--name", "double", "--to", "high"),
    "tasks show": ("tasks", "show", "SUCCEEDED"),
    "token create": ("token", "create", "ada", "--role", "operate", "--expires", "90d"),
    "token list": ("token", "list"),
    "token revoke": ("token", "revoke", "ada"),
    "undo": ("undo", "1"),
    "whatif": ("whatif", "--workers", "sums=2"),
    "workers list": ("workers", "list"),
}
"""A call of each command on the database of the tests."""

BEFORE: dict[str, tuple[str, ...]] = {
    "alerts list": LINES["alerts add"],
    "alerts remove": LINES["alerts add"],
    "limits list": LINES["limits set"],
    "limits remove": LINES["limits set"],
    "resume": LINES["pause"],
    "restore": LINES["backup"],
    "stats": LINES["pause"],
    "acts": LINES["pause"],
    "token list": LINES["token create"],
    "token revoke": LINES["token create"],
    "undo": LINES["tasks cancel"],
}
"""What is called before, so that there is something to print."""

ON_FLOWS_AND_SCHEDULES = {name for name in DOCUMENTS if name.split()[0] in ("flows", "schedules")}
"""Checked by the tests of these commands, in tests/behaviour."""


def leaves(group: Any, words: tuple[str, ...] = ()) -> Iterator[str]:
    for name, later in group.commands.items():
        command = getattr(
            later, "command", later
        )  # the root loads its commands when they are called
        if hasattr(command, "commands"):
            yield from leaves(command, (*words, name))
        else:
            yield " ".join((*words, name))


@pytest.fixture
def line(database: Database, tmp_path: Path) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """Put the ids and places of the test into a command line."""
    known = {"DELAYED": database.delayed, "FAILED": database.failed}
    known["SUCCEEDED"] = database.succeeded

    def fill(words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(known.get(word, word.replace("FOLDER", str(tmp_path))) for word in words)

    return fill


@pytest.mark.parametrize("command", LINES)
def test_a_command_prints_what_the_schema_says(
    wopr: Call,
    line: Callable[[tuple[str, ...]], tuple[str, ...]],
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    database: Database,
) -> None:
    monkeypatch.setenv("WOPR_TASKS_DATABASE", str(database.path))
    if command in BEFORE:
        assert call(*line(BEFORE[command])).code in (0, 1)
    answer = call(*line(LINES[command]), "--json")
    document = json.loads(answer.out)
    assert 1 == document["version"]
    assert not isinstance(document.get("error"), dict), "it failed"
    check_document(command, document)


PRINT_NOTHING = {"web", "mcp", "top"}
"""They serve, or draw, until they are told to stop."""


def test_every_command_has_a_schema_and_is_called() -> None:
    there = set(leaves(app)) - PRINT_NOTHING
    assert sorted(there) == sorted(DOCUMENTS)
    assert sorted(there) == sorted({*LINES, *ELSEWHERE, *ON_FLOWS_AND_SCHEDULES})


def test_the_schema_of_the_docs_is_that_of_the_types() -> None:
    told = SCHEMA.read_text(encoding="utf-8")
    assert told == written(), "make it anew: cd tests && python -m support.schemas"


def test_an_error_is_a_document_with_a_version_too(tmp_path: Path) -> None:
    answer = call("stats", "-d", tmp_path / "missing.duckdb", "--json")
    document = json.loads(answer.out)
    assert (1, 3) == (document["version"], document["error"]["exit_code"])
    check_document("stats", document)


def test_a_time_in_json_has_its_offset(wopr: Call) -> None:
    rows = wopr("sql", "select created_at from tasks", "--json").json["rows"]
    assert all(row["created_at"].endswith("+00:00") for row in rows)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"task_id": "x"}, "$: history is missing"),
        ({"task_id": 7, "history": []}, "$.task_id: 7 is no string"),
        ({"task_id": "x", "history": [{}]}, "$.history[0]: seq is missing"),
        ({"task_id": "x", "history": [], "more": 1}, "$: nobody tells of more"),
    ],
)
def test_a_document_that_the_schema_does_not_know_is_noticed(
    document: dict[str, Any], problem: str
) -> None:
    found = problems(document, {"$ref": "#/$defs/History"})
    assert problem in found


def test_an_answer_of_another_version_is_noticed() -> None:
    with pytest.raises(AssertionError, match="version"):
        check_document("resume", {"version": 2, "resumed": True})
    assert {"resumed": True} == Answer(0, '{"version": 1, "resumed": true}', "", ("resume",)).json
