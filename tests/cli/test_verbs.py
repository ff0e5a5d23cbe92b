"""``wopr tasks`` with selections, ``wopr acts`` and ``wopr undo``."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from support.commands import Call, Database
from wopr.domain.spoken import counted, local


def status(wopr: Call, task_id: str) -> str:
    found: str = wopr("tasks", "show", task_id, "--json").json["status"]
    return found


def test_a_dry_run_shows_counts_and_examples_and_changes_nothing(
    wopr: Call, database: Database
) -> None:
    answer = wopr("tasks", "cancel", "--name", "double", "--dry-run")
    assert 0 == answer.code
    lines = answer.out.splitlines()
    assert "1 of 2 selected tasks would be cancelled." == lines[0]
    assert database.delayed in answer.out
    assert database.succeeded not in answer.out
    assert "pending" == status(wopr, database.delayed)
    told = wopr("tasks", "cancel", "--name", "double", "--dry-run", "--json").json
    assert (2, 1) == (told["selected"], told["changes"])
    assert "Nobody has done anything yet.\n" == wopr("acts").out


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        (("--category", "sums"), 1),
        (("--status", "pending", "--status", "retry"), 1),
        (("--since", "1h"), 1),
        (("--until", "2020-01-01T00:00Z"), 0),
        (("--where", "priority = 1"), 1),
        (("--tag", "none"), 0),
        (("--name", "nasty"), 0),
    ],
)
def test_cancel_by_what_the_tasks_are(
    wopr: Call, database: Database, options: tuple[str, ...], changed: int
) -> None:
    answer = wopr("tasks", "cancel", *options)
    assert 0 == answer.code
    assert f"{counted(changed, 'task')} cancelled (act 1).\n" == answer.out
    assert ("cancelled" if changed else "pending") == status(wopr, database.delayed)


def test_ids_may_be_shortened_and_stand_with_commas(wopr: Call, database: Database) -> None:
    ids = f"{database.failed},{database.delayed[:-4]}"
    answer = wopr("tasks", "retry", "--ids", ids, "--json")
    assert [True, False] == [one["changed"] for one in answer.json["results"]]
    assert 1 == answer.code


def test_each_verb_says_what_it_did(wopr: Call, database: Database) -> None:
    task = ("--ids", database.delayed)
    for words, said in (
        (("set-priority", "--to", "critical", *task), "set to CRITICAL"),
        (("move", "--to", "other", *task), "moved to other"),
        (("delay", "--by", "2030-05-17T12:00Z", *task), "delayed"),
        (("run-again", "--ids", database.succeeded), "run again"),
    ):
        answer = wopr("tasks", *words)
        assert (0, f"{words[-1]} {said}\n") == (answer.code, answer.out)
    info = wopr("tasks", "show", database.delayed, "--json").json
    assert (4, "other") == (info["priority"], info["category"])
    assert "2030-05-17T12:00:00+00:00" == info["run_at"]


def test_acts_tell_what_was_set_as_people_read_it(wopr: Call, database: Database) -> None:
    for words in (
        ("set-priority", "--to", "high", "--since", "2030-05-17T12:00Z"),
        ("move", "--category", "sums", "--to", "other"),
        ("delay", "--name", "double", "--by", "2030-05-17T12:00Z"),
    ):
        wopr("tasks", *words)
    wopr("limits", "set", "sums", "--concurrency", "3")
    out = wopr("acts").out
    moment = local(datetime(2030, 5, 17, 12, tzinfo=UTC))
    assert f'since="{moment}" → priority=HIGH' in out
    assert "category=sums → category=other" in out
    assert f'name=double → run_at="{moment}"' in out
    assert "limit=sums → concurrency=3" in out


def test_the_error_of_a_task_finds_others_like_it(wopr: Call, database: Database) -> None:
    error = wopr("tasks", "show", database.failed, "--json").json["error"]
    assert "1 task retried (act 1).\n" == wopr("tasks", "retry", "--error", error).out


def test_acts_tell_who_did_what_and_undo_takes_it_back(wopr: Call, database: Database) -> None:
    wopr("tasks", "cancel", "--name", "double", "--reason", "wrong price")
    wopr("pause", "sums", "--reason", "moving house")
    pause, cancel = wopr("acts", "--json").json["acts"]
    assert ("cancel", {"name": "double"}, 1, "wrong price") == tuple(
        cancel[key] for key in ("verb", "selection", "changed", "reason")
    )
    assert ("pause", "moving house") == (pause["verb"], pause["reason"])
    assert "moving house" in (out := wopr("acts").out)
    assert 'pause="category sums"  ' in out  # and not what other columns say
    assert "1 change taken back (act 3).\n" == wopr("undo", cancel["number"]).out
    assert "pending" == status(wopr, database.delayed)
    assert "1 change taken back (act 4).\n" == wopr("undo", pause["number"]).out
    assert "Nothing is paused.\n" == wopr("pause").out


def test_undo_says_what_it_can_not_take_back(wopr: Call, database: Database) -> None:
    unknown = wopr("undo", 7)
    assert (1, "There is no act 7 (any more). See them: wopr acts\n") == (unknown.code, unknown.err)
    wopr("tasks", "retry", database.failed)
    assert "which can't be taken back" in wopr("undo", 1).err
    wopr("tasks", "cancel", database.delayed)
    wopr("undo", 2)
    again = wopr("undo", 2)
    assert 1 == again.code
    assert f"{database.delayed} not taken back: it is pending now" in again.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tasks", "cancel"), "Say which tasks"),
        (("tasks", "cancel", "--since", "yesterday"), "--since takes 2h, 30min, 7d"),
        (("tasks", "cancel", "--since", "2030-01-01"), "has no time zone"),
        (("tasks", "cancel", "--where", "nonsense = 1"), "nonsense"),
        (("tasks", "cancel", "--where", "true) or (true"), "is no condition in SQL"),
        (("tasks", "set-priority", "--name", "x", "--to", "urgent"), "--to takes one of LOW"),
        (("tasks", "delay", "--name", "x", "--by", "soon"), "--by takes 2h"),
    ],
)
def test_wrong_use_is_refused_and_changes_nothing(
    wopr: Call, database: Database, words: tuple[str, ...], said: str
) -> None:
    answer = wopr(*words)
    assert 2 == answer.code
    assert said in answer.err
    assert "pending" == status(wopr, database.delayed)
