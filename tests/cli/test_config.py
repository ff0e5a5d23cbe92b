"""``wopr config show``: the settings, and where each comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.commands import call
from wopr import Settings


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a directory with files of settings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wopr.toml").write_text("window = 12\nquery_rows = 5\n")
    (tmp_path / ".env").write_text("WOPR_TASKS_WINDOW=13\nWOPR_TASKS_LOGLEVEL=debug\nX=1\n")
    monkeypatch.setenv("WOPR_TASKS_LOG_FORMAT", "json")
    return tmp_path


def test_every_setting_is_shown() -> None:
    answer = call("config", "show")
    assert 0 == answer.code
    shown = dict(line.split(maxsplit=1) if " " in line else (line, "") for line in rows(answer.out))
    assert list(Settings.model_fields) == list(shown)
    assert ("13", "5", "no") == (shown["window"], shown["query_rows"], shown["enabled"])


def rows(out: str) -> list[str]:
    return [line.strip() for line in out.splitlines()[2:]]


def test_the_origin_is_named(here: Path) -> None:
    answer = call("config", "show", "--origin", "--grace", 3, "--http", "8080")
    lines = {line.split()[0]: line.split()[1:] for line in rows(answer.out)}
    assert ["13", str(here / ".env")] == lines["window"]
    assert ["5", str(here / "wopr.toml")] == lines["query_rows"]
    assert ["json", "WOPR_TASKS_LOG_FORMAT"] == lines["log_format"]
    assert ["3", "--grace"] == lines["shutdown_seconds"]
    assert ["8080", "--http"] == lines["http"]
    assert ["wopr_tasks.duckdb", "default"] == lines["database"]


def test_a_variable_without_effect_is_pointed_out(here: Path) -> None:
    warning = (
        f"WOPR_TASKS_LOGLEVEL in {here / '.env'} is no setting and has no effect. "
        "Did you mean WOPR_TASKS_LOG_LEVEL?"
    )
    assert f"Warning: {warning}\n" == call("config", "show").err
    assert [warning] == call("config", "show", "--json").json["warnings"]


def test_a_command_says_that_a_file_here_leads_it_elsewhere(here: Path) -> None:
    (here / ".env").write_text("WOPR_TASKS_DATABASE=../victim.duckdb\n")
    said = f"Warning: The database is {here.parent / 'victim.duckdb'}, outside of {here}"
    assert said in call("stats").err.replace("\n", " ")
    assert "Warning" not in call("stats", "--database", "../victim.duckdb").err


def test_as_json(here: Path) -> None:
    settings = call("config", "show", "--json").json["settings"]
    assert {"window": 13, "http": None, "enabled": False} == {
        name: settings[name] for name in ("window", "http", "enabled")
    }
    settings = call("config", "show", "--json", "--origin", "-d", "x.duckdb").json["settings"]
    assert {"value": "x.duckdb", "origin": "--database"} == settings["database"]
    assert {"value": 12, "origin": "default"} != settings["window"]


def test_secrets_in_values_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOPR_TASKS_DATABASE", "/data/password=hunter2/x.duckdb")
    answer = call("config", "show", "--origin")
    assert "hunter2" not in answer.out


@pytest.mark.parametrize("words", [("config", "show"), ("stats",), ("worker", "app:queue")])
def test_a_broken_file_ends_every_command_in_words(here: Path, words: tuple[str, ...]) -> None:
    (here / "wopr.toml").write_text("window = \n")
    answer = call(*words)
    assert (2, "") == (answer.code, answer.out)
    assert f"{here / 'wopr.toml'} is no TOML" in answer.err


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("WOPR_TASKS_WINDOW", "many", "WOPR_TASKS_WINDOW: Input should be a valid integer"),
        ("WOPR_TASKS_HTTP", "a b", "WOPR_TASKS_HTTP: an address is a port or host:port"),
    ],
)
def test_a_wrong_value_is_said_with_its_place(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    answer = call("config", "show")
    assert 2 == answer.code
    assert f"A setting is wrong.\n{expected}" in answer.err
    assert f"not '{value}'." in answer.err


def test_a_wrong_value_in_a_file_is_said_with_the_file(here: Path) -> None:
    (here / "wopr.toml").write_text("max_crashes = 0\n")
    answer = call("config", "show")
    assert 2 == answer.code
    assert f"{here / 'wopr.toml'}: max_crashes: Input should be greater" in answer.err
