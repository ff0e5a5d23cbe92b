"""``wopr limits``, ``pause``, ``resume`` and ``revoke``."""

from __future__ import annotations

import pytest

from support.commands import Call


def test_limits_are_set_changed_listed_and_removed(wopr: Call) -> None:
    assert wopr("limits", "list").out == "There are no limits.\n"
    first = wopr("limits", "set", "mail", "-c", 3, "--rate", "10/min")
    assert first.out == "mail: 3 at the same time, 10 per 60 s\n"
    assert wopr("limits", "set", "mail", "-k", "to", "-c", 1).out == "mail/to: 1 at the same time\n"
    wopr("limits", "set", "mail", "--backlog", 9, "--on-full", "refuse", "--aging", 60)
    wopr("limits", "set", "mail", "--fair-by", "tenant")
    whole, keyed = wopr("limits", "list", "--json").json["limits"]
    assert whole == {
        "category": "mail",
        "key": None,
        "concurrency": 3,
        "rate": 10,
        "per": 60.0,
        "fair_by": "tenant",
        "aging": 60.0,
        "backlog": 9,
        "on_full": "refuse",
    }
    assert (keyed["key"], keyed["concurrency"]) == ("to", 1)
    assert "10 per 60 s" in wopr("limits", "list").out
    assert wopr("limits", "remove", "mail").out == "Removed.\n"
    assert wopr("limits", "remove", "mail").out == "There was no such limit.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("limits", "set", "mail"), "wopr limits set mail --concurrency 5"),
        (("limits", "set", "mail", "--rate", "often"), "100/minute"),
        (("limits", "set", "mail", "-k", "to..x", "-c", 1), "JMESPath"),
        (("resume",), "Name a category or a task"),
        (("revoke", "double", "-w", "number"), "--where customer=7"),
    ],
)
def test_a_wrong_call_says_what_is_right(wopr: Call, words: tuple[object, ...], said: str) -> None:
    answer = wopr(*words)
    assert answer.code == 2
    assert said in answer.err


def test_a_category_is_paused_and_resumed(wopr: Call) -> None:
    assert wopr("pause").out == "Nothing is paused.\n"
    assert "wopr resume sums" in wopr("pause", "sums", "--reason", "moving house").out
    wopr("pause", "--task", "double")
    assert "moving house" in wopr("pause").out
    pauses = wopr("pause", "--json").json["pauses"]
    assert [(one["category"], one["task"]) for one in pauses] == [("sums", None), (None, "double")]
    assert wopr("resume", "sums").out == "sums goes on.\n"
    assert wopr("resume", "sums").out == "sums was not paused.\n"
    assert wopr("resume", "--task", "double", "--json").json == {"resumed": True}


def test_tasks_are_revoked_once_or_from_now_on(wopr: Call) -> None:
    waiting = wopr("tasks", "list", "--status", "pending", "--json").json["tasks"][0]
    assert wopr("revoke", waiting["name"]).out == "1 tasks cancelled.\n"
    assert wopr("revoke").out == "There are no standing revocations.\n"
    wopr("revoke", "double", "-w", "number=7", "-w", "name=x", "--standing", "--reason", "bad data")
    [standing] = wopr("revoke", "--json").json["revocations"]
    assert standing["where"] == {"number": 7, "name": "x"}
    assert "bad data" in wopr("revoke").out
    lift = ("revoke", "double", "-w", "number=7", "-w", "name=x", "--lift")
    assert wopr(*lift).out == "Lifted.\n"
    assert wopr(*lift).out == "There was no such standing revocation.\n"


def test_stats_say_what_holds_tasks_back(wopr: Call) -> None:
    assert "paused" not in wopr("stats").out
    wopr("pause", "sums", "--reason", "moving house")
    wopr("limits", "set", "sums", "-c", 1)
    said = wopr("stats").out
    assert "category sums is paused: moving house. To go on: wopr resume sums" in said
    assert "wopr limits list (1)" in said
    found = wopr("stats", "--json").json
    assert [pause["category"] for pause in found["pauses"]] == ["sums"]
