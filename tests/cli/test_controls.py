"""``wopr limits``, ``pause``, ``resume`` and ``revoke``."""

from __future__ import annotations

import re

import pytest

from support.commands import Call


def test_limits_are_set_changed_listed_and_removed(wopr: Call) -> None:
    assert wopr("limits", "list").out == "There are no limits.\n"
    first = wopr("limits", "set", "mail", "-c", 3, "--rate", "10/min")
    assert first.out == "mail: 3 at the same time, 10 per 1 min\n"
    assert wopr("limits", "set", "mail", "-k", "to", "-c", 1).out == "mail/to: 1 at the same time\n"
    wopr("limits", "set", "mail", "--backlog", 9, "--on-full", "refuse", "--aging", 60)
    wopr("limits", "set", "mail", "--fair-by", "tenant")
    whole, keyed = wopr("limits", "list", "--json").json["limits"]
    assert whole == {
        "category": "mail",
        "task": None,
        "key": None,
        "concurrency": 3,
        "rate": 10,
        "per": 60.0,
        "fair_by": "tenant",
        "aging": 60.0,
        "backlog": 9,
        "on_full": "refuse",
        "declared": None,
    }
    assert (keyed["key"], keyed["concurrency"]) == ("to", 1)
    assert "10 per 1 min" in wopr("limits", "list").out
    assert wopr("limits", "remove", "mail").out == "Removed.\n"
    again = wopr("limits", "remove", "mail")
    assert (again.code, again.out) == (1, "There was no such limit.\n")


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ("--concurrency", "concurrency"),
        ("--rate", "rate"),
        ("--fair-by", "fair_by"),
        ("--aging", "aging"),
        ("--backlog", "backlog"),
    ],
)
def test_one_limit_is_taken_away_and_the_others_stay(wopr: Call, option: str, field: str) -> None:
    all_of_them = ("-c", 3, "--rate", "10/min", "--fair-by", "to", "--aging", 2.5, "--backlog", 9)
    said = wopr("limits", "set", "sums", *all_of_them).out
    assert said == (
        "sums: 3 at the same time, 10 per 1 min, to takes turns, a level of priority per 2.5 s, "
        "9 wait at most, then wait\n"
    )
    before = wopr("limits", "list", "--json").json["limits"][0]
    after = wopr("limits", "set", "sums", option, "none", "--json").json
    period = {"per": None} if field == "rate" else {}
    assert after == {**before, field: None, **period}


def test_the_last_limit_is_taken_away(wopr: Call) -> None:
    wopr("limits", "set", "sums", "-c", 3)
    assert wopr("limits", "set", "sums", "-c", "none").out == "sums: no limits any more\n"
    assert wopr("limits", "list").out == "There are no limits.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("limits", "set", "mail"), "wopr limits set mail --concurrency 5"),
        (("limits", "set", "mail", "--rate", "often"), "100/minute"),
        (("limits", "set", "mail", "-c", "few"), "a whole number, or none to take this limit away"),
        (("limits", "set", "mail", "--backlog", "1.5"), "--backlog must be a whole number"),
        (("limits", "set", "mail", "--aging", "soon"), "--aging must be a number, or none"),
        (("limits", "set", "mail", "--aging", "inf"), "aging"),
        (("limits", "set", "mail", "-k", "to..x", "-c", 1), "JMESPath"),
        (("resume",), "wopr resume mail, or wopr resume --task send_mail"),
        (("resume", "sums", "--task", "double"), "not both: wopr resume mail"),
        (("pause", "sums", "--task", "double"), "not both: wopr pause mail"),
        (("revoke", "0190cafe-0000-7000-8000-000000000000"), "wopr tasks cancel 0190cafe-0000"),
        (("alerts", "add", "a b", "-w", "slow"), "wopr alerts add 'a b' --when slow --threshold"),
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
    again = wopr("resume", "sums")
    assert (again.code, again.out) == (1, "sums was not paused.\n")
    assert wopr("resume", "--task", "double", "--json").json == {"resumed": True}


def test_tasks_are_revoked_once_or_from_now_on(wopr: Call) -> None:
    waiting = wopr("tasks", "list", "--status", "pending", "--json").json["tasks"][0]
    assert wopr("revoke", waiting["name"]).out == "1 task cancelled.\n"
    assert wopr("revoke").out == "There are no standing revocations.\n"
    wopr("revoke", "double", "-w", "number=7", "-w", "name=x", "--standing", "--reason", "bad data")
    [standing] = wopr("revoke", "--json").json["revocations"]
    assert standing["where"] == {"number": 7, "name": "x"}
    assert "bad data" in wopr("revoke").out
    lift = ("revoke", "double", "-w", "number=7", "-w", "name=x", "--lift")
    assert wopr(*lift).out == "Lifted.\n"
    again = wopr(*lift)
    assert (again.code, again.out) == (1, "There was no such standing revocation.\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("pause", "sum"),
            "No task of category 'sum' is known in this database. Did you mean sums?",
        ),
        (
            ("pause", "--task", "dubble"),
            "No task of name 'dubble' is known in this database. Did you mean double?",
        ),
        (("limits", "set", "summs", "-c", 1), "Did you mean sums?"),
        (("revoke", "duoble", "--standing"), "Did you mean double?"),
        (("pause", "elsewhere"), "No task of category 'elsewhere' is known in this database."),
    ],
)
def test_a_name_that_nothing_has_is_taken_and_said(
    wopr: Call, words: tuple[object, ...], said: str
) -> None:
    answer = wopr(*words, "--json")
    assert answer.code == 0
    assert answer.json
    assert answer.err.rstrip().endswith(said)


@pytest.mark.parametrize(
    "words",
    [("pause", "sums"), ("pause", "-t", "double"), ("limits", "set", "sums", "-c", 1)],
)
def test_a_name_that_tasks_have_is_taken_in_silence(wopr: Call, words: tuple[object, ...]) -> None:
    answer = wopr(*words)
    assert (answer.code, answer.err) == (0, "")


def test_an_alert_that_is_there_is_changed_and_what_it_was_is_said(wopr: Call) -> None:
    add = ("alerts", "add", "late", "--when", "slow", "--threshold")
    assert wopr(*add, 30).out == "late added\n"
    assert wopr(*add, 30).out == "late stays as it was\n"
    assert wopr(*add, 60).out == (
        "late changed (was: when slow, level warning, threshold 30.0, every 300.0, emits alerts)\n"
    )
    assert [one["threshold"] for one in wopr("alerts", "list", "--json").json["alerts"]] == [60]


def test_stats_say_what_holds_tasks_back(wopr: Call) -> None:
    assert "paused" not in wopr("stats").out
    wopr("pause", "sums", "--reason", "moving house")
    wopr("limits", "set", "sums", "-c", 1)
    said = wopr("stats").out
    assert re.search(
        r"category sums is paused since .* by .*: moving house. To go on: .* sums", said
    )
    assert "wopr limits list (1)" in said
    found = wopr("stats", "--json").json
    assert [pause["category"] for pause in found["pauses"]] == ["sums"]
