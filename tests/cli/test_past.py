"""``--at`` of commands that look: the queue as it was."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.commands import call
from support.matching import check_document
from wopr.demo.history import write_history

NOW = datetime(2025, 11, 30, 12, 0, tzinfo=UTC)
PAUSED = "2025-11-30T11:40:00Z"
"""Imports were paused and a campaign was not yet enqueued."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a day of a shop in it."""
    path = tmp_path_factory.mktemp("past") / "shop.duckdb"
    asyncio.run(write_history(path, tasks=800, days=1, now=NOW))
    return path


def ask(path: Path, sql: str) -> Any:
    """Return the first value of an answer."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()[0][0]


def answer(path: Path, *words: object) -> dict[str, Any]:
    """Return the document that a command prints, once it is as the schema says."""
    done = call(*words, "-d", path, "--json")
    assert 0 == done.code, done.err
    command = " ".join(str(word) for word in words[: 1 if words[0] in {"stats", "status"} else 2])
    return check_document(command, json.loads(done.out))


def test_counts_are_those_of_the_moment(path: Path) -> None:
    found = answer(path, "stats", "--at", PAUSED)
    created = "select count(*) from tasks where created_at <= '2025-11-30 11:40'"
    assert ask(path, created) == found["total"]
    assert found["total"] == sum(found["by_category"].values())
    assert ["imports"] == [one["category"] for one in found["pauses"]]
    text = call("stats", "--at", PAUSED, "-d", path).out
    assert f"{found['total']:,} tasks" in text
    assert "was paused since" in text


def test_a_status_says_what_waited_and_what_was_paused(path: Path) -> None:
    found = answer(path, "status", "--at", PAUSED)
    imports = next(one for one in found["backlog"] if one["category"] == "imports")
    assert imports["due"] > 0
    assert imports["oldest_seconds"] > 0
    assert found["waiting"] >= imports["waiting"]
    text = call("status", "--at", PAUSED, "-d", path).out
    assert "tasks waited" in text
    assert "paused: category imports" in text
    assert any(line.startswith("imports ") for line in text.splitlines())


def test_tasks_are_listed_and_shown_as_they_were(path: Path) -> None:
    listed = answer(path, "tasks", "list", "--at", PAUSED, "--status", "pending")
    assert {"imports.feed"} == {one["name"] for one in listed["tasks"]}
    one = listed["tasks"][0]["id"]
    shown = answer(path, "tasks", "show", one, "--at", PAUSED)
    assert "pending" == shown["status"]
    done = ask(path, "select id::varchar from tasks where status = 'success' order by seq limit 1")
    early = call("tasks", "show", done, "--at", "2025-11-29T00:00Z", "-d", path)
    assert 1 == early.code
    assert "There was no task" in early.err
    assert "Task" in call("tasks", "show", done, "--at", PAUSED, "-d", path).out


def test_workers_are_those_that_ran_something(path: Path) -> None:
    found = answer(path, "workers", "list", "--at", "2025-11-30T12:00Z")
    names = {one["category"] for one in found["workers"]}
    assert {"mail", "shop"} <= names
    assert any(one["task_id"] for one in found["workers"])
    nobody = call("workers", "list", "--at", "2025-11-01T00:00Z", "-d", path)
    assert "No worker ran anything then" in nobody.out


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("yesterday", "--at takes 2h"),
        ("2025-11-30T11:40", "has no time zone"),
        ("2999-01-01T00:00Z", "has not come"),
    ],
)
def test_what_is_no_moment_is_refused(path: Path, at: str, said: str) -> None:
    done = call("stats", "--at", at, "-d", path)
    assert 2 == done.code
    assert said in done.err


def test_a_series_has_a_row_for_each_step(path: Path) -> None:
    words = ("--since", "2025-11-29T12:00Z", "--until", "2025-11-30T12:00Z")
    done = call("series", *words, "--split", "category", "--compare", "-d", path, "--json")
    found = check_document("series", json.loads(done.out))
    mail = next(one for one in found["series"] if one["part"] == "mail")
    assert 24 == len(mail["points"]) == len(mail["week_before"])
    arrived = (
        "select count(*) from tasks where category = 'mail' and created_at < '2025-11-30 12:00'"
    )
    assert ask(path, arrived) == sum(one["arrivals"] for one in mail["points"])
    text = call("series", *words, "--category", "mail", "-d", path).out
    assert 24 == sum(line.startswith("2025-11-") for line in text.splitlines())
    compared = call("series", *words, "--compare", "-d", path).out
    assert "arrivals then" in compared
    wrong = call("series", "--split", "tag", "-d", path)
    assert (2, True) == (wrong.code, "--split takes category or name" in wrong.err)


def test_an_eta_says_when_or_why_never(path: Path) -> None:
    done = call("eta", "--category", "mail", "-d", path, "--json")
    found = check_document("eta", json.loads(done.out))
    assert (1, "no workers", None) == (done.code, found["reason"], found["at"])
    text = call("eta", "-d", path)
    assert 1 == text.code
    assert "imports: " in text.out
    assert "it is paused since" in text.out
    assert "not to be told, or never" in text.out
    nothing = call("eta", "--category", "nobody", "-d", path)
    assert (0, "Nothing is left to be done.\n") == (nothing.code, nothing.out)
    some = call(
        "eta", "--where", "priority = 1", "-n", "mail.newsletter", "-s", "pending", "-d", path
    )
    assert "nobody works on it" in some.out


@pytest.mark.parametrize("then", [(), ("--at", PAUSED)])
def test_a_list_takes_the_conditions_of_a_selection(path: Path, then: tuple[str, ...]) -> None:
    both = answer(path, "tasks", "list", "-n", "mail.receipt", "-n", "mail.password", *then)
    assert {"mail.receipt", "mail.password"} == {one["name"] for one in both["tasks"]}
    assert 50 == len(both["tasks"])
    cursor = both["next_cursor"]
    one = ("tasks", "list", "--where", "attempt = 1", "--schedule", "reindex", *then)
    assert {"reindex"} == {task["schedule"] for task in answer(path, *one)["tasks"]}
    some = answer(path, "tasks", "list", cursor, "--since", "3000d", *then)
    assert [cursor] == [task["id"] for task in some["tasks"]]
    none = call("tasks", "list", "--tag", "nobody", *then, "-d", path)
    assert "No tasks match." in none.out


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("2999-01-01T00:00Z", "--at 2999-01-01T00:00Z has not come: it is "),
        ("2025-11-30T11:40", "--at takes 2h, 30min, 7d, or a time with its zone like "),
        ("99999999d", "--at takes 2h, 30min, 7d, or a time with its zone like "),
        ("yesterday", "--at takes 2h, 30min, 7d, or a time with its zone like "),
    ],
)
def test_a_wrong_moment_is_refused_in_words_of_the_command_line(
    path: Path, at: str, said: str
) -> None:
    for words in (("stats",), ("status",), ("tasks", "list"), ("workers", "list")):
        done = call(*words, "--at", at, "-d", path)
        assert (2, True) == (done.code, done.err.startswith(said)), done.err
        assert not any(word in done.err for word in ("queue.", "datetime", "moment"))
