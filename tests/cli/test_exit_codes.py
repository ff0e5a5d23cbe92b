"""The contract with scripts: exit codes, and errors that are one line or one document."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.commands import Call, Database, call
from support.programs import BIN, run, run_ok
from wopr import __version__
from wopr.cli.later import Later
from wopr.cli.main import COMMANDS
from wopr.storage.duckdb.file.opening import open_database

ON_A_FILE = [
    ("tasks", "list"),
    ("tasks", "show", "x"),
    ("tasks", "cancel", "x"),
    ("tasks", "retry", "x"),
    ("tasks", "history", "x"),
    ("tasks", "logs", "x"),
    ("tasks", "explain", "x"),
    ("workers", "list"),
    ("stats",),
    ("sql", "select 1"),
    ("cleanup", "--days", "1"),
    ("compact",),
    ("doctor",),
    ("db", "current"),
    ("db", "check"),
    ("db", "upgrade"),
]


ALONE = [words for words in ON_A_FILE if words[0] in {"compact", "doctor", "db"}]


@pytest.mark.parametrize("words", ON_A_FILE, ids=" ".join)
def test_a_missing_database_is_said_and_not_created(words: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "missing.duckdb"
    answer = call(*words, "--database", path)
    assert (3, "") == (answer.code, answer.out)
    assert f"There is no database file {path}" in answer.err
    assert "--database" in answer.err
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("words", ON_A_FILE, ids=" ".join)
def test_errors_are_json_too(words: tuple[str, ...], tmp_path: Path) -> None:
    answer = call(*words, "--database", tmp_path / "missing.duckdb", "--json")
    assert (3, "") == (answer.code, answer.err)
    assert ("StorageFileError", 3) == (
        answer.json["error"]["type"],
        answer.json["error"]["exit_code"],
    )


@pytest.mark.parametrize("words", ALONE, ids=" ".join)
def test_a_file_in_use_names_the_process(words: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "owned.duckdb"
    owner = open_database(path)
    try:
        program = [BIN / "wopr", *words, "--database", path]
        done = run(program, tmp_path)
    finally:
        owner.close()
    assert 3 == done.returncode
    assert f"kill {os.getpid()}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("tasks", "list", "--nonsense"),
        ("tasks", "list", "--status", "sleeping"),
        ("tasks", "list", "--limit", "many"),
        ("tasks", "cancel"),
        ("nonsense",),
        ("cleanup",),
        ("cleanup", "--days", "-1"),
        ("worker",),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_two(words: tuple[str, ...]) -> None:
    answer = call(*words)
    assert (2, "") == (answer.code, answer.out)
    assert answer.err
    assert "Traceback" not in answer.err
    assert 2 == call(*words, "--json").json["error"]["exit_code"]


def test_a_wrong_word_is_told_once_beside_those_there_are() -> None:
    said = call("tasks", "list", "--status", "sleeping").err
    assert 1 == said.count("sleeping")
    assert ".," not in said


def test_a_wrong_setting_names_its_variable(wopr: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOPR_TASKS_WINDOW", "wide")
    answer = wopr("stats")
    assert 2 == answer.code
    assert "WOPR_TASKS_WINDOW" in answer.err


def test_a_file_that_is_no_database_is_three(tmp_path: Path) -> None:
    path = tmp_path / "text.duckdb"
    path.write_text("not a database " * 1000)
    answer = call("stats", "-d", path)
    assert 3 == answer.code
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ("stats", "-d"),
        ("status", "-d"),
        ("web", "-d"),
        ("demo", "--history", "-d"),
        ("move", "--to", "postgresql://db.example.org/jobs", "--from"),
    ],
)
def test_an_address_of_something_else_is_no_missing_file(words: tuple[str, ...]) -> None:
    answer = call(*words, "mysql://ada:hunter2@db.example.org/jobs")
    assert 3 == answer.code
    assert "'mysql:/***@db.example.org/jobs' is not a file name" in answer.out + answer.err
    assert "hunter2" not in answer.out + answer.err


def test_the_database_comes_from_the_environment(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WOPR_TASKS_DATABASE", str(database.path))
    assert 3 == call("stats", "--json").json["total"]


def test_the_switch_guards_applications_not_the_operator(
    wopr: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WOPR_TASKS_ENABLED", "0")
    assert 3 == wopr("stats", "--json").json["total"]


def test_the_version() -> None:
    assert (0, f"wopr {__version__}\n") == (call("--version").code, call("--version").out)


def test_help_names_every_command_and_the_exit_codes() -> None:
    out = call("--help").out
    for word in [
        "demo",
        "worker",
        "tasks",
        "stats",
        "sql",
        "cleanup",
        "db",
        "doctor",
        "compact",
        "--version",
    ]:
        assert word in out
    assert "Exit codes" in out
    assert "--install-completion" in out


@pytest.mark.parametrize("words", [*ON_A_FILE, ("worker",), ("demo",)], ids=" ".join)
def test_every_command_has_json_and_a_database(words: tuple[str, ...]) -> None:
    out = call(*(word for word in words[:2] if word not in {"select 1", "--days"}), "--help").out
    assert "--json" in out
    assert "--database" in out


@pytest.mark.parametrize(
    ("limit", "why"), [("0", "equal to 1, not '0'"), ("x", "integer, not 'x'")]
)
def test_a_number_that_can_not_be_is_told_with_its_value(limit: str, why: str) -> None:
    answer = call("tasks", "list", "--limit", limit)
    assert 2 == answer.code
    assert "'--limit'" in answer.err
    assert why in answer.err
    assert "Try: wopr tasks list --help" in answer.err


def test_python_minus_m_is_the_command(tmp_path: Path) -> None:
    printed = run_ok([sys.executable, "-m", "wopr", "--version"], tmp_path)
    assert f"wopr {__version__}\n" == printed
    assert printed == run_ok([BIN / "wopr", "--version"], tmp_path)


def test_help_loads_no_command_no_queue_and_no_database(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom wopr.cli.main import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = run([sys.executable, "-c", code], tmp_path)
    assert 0 == done.returncode
    commands = {where.partition(":")[0] for _, where, _ in COMMANDS}
    heavy = {"asyncio", "duckdb", "pydantic", "wopr.queue", "wopr.config", "sqlalchemy"}
    assert set() == (commands | heavy) & set(done.stderr.split())


@pytest.mark.parametrize(("name", "where", "line"), COMMANDS)
def test_the_line_of_each_command_is_the_first_paragraph_of_its_help(
    name: str, where: str, line: str
) -> None:
    command = Later(name, where, line).command
    assert name == command.name
    assert line == " ".join((command.help or "").partition("\n\n")[0].split())
