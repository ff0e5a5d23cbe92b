"""``wopr token``: made and shown once, listed without what lets anybody in, revoked."""

from __future__ import annotations

import pytest

from support.commands import Call
from wopr.domain.accesstoken import digest_of


def test_a_token_is_shown_once_and_its_digest_never(wopr: Call) -> None:
    made = wopr("token", "create", "ada", "--role", "operate", "--expires", "90d")
    token = made.out.splitlines()[0]
    assert token.startswith("wopr_")
    assert "ada, with the role operate, until 20" in made.out
    for words in (("token", "list"), ("token", "list", "--json"), ("acts", "--json")):
        told = wopr(*words).out
        assert "ada" in told
        assert token not in told
        assert digest_of(token) not in told
    row = wopr("token", "list").out.splitlines()[2]
    assert ["ada", "operate", "valid"] == row.split()[:3]


def test_who_made_and_revoked_a_token_is_an_act(wopr: Call) -> None:
    wopr("token", "create", "ada", "--role", "read")
    assert "ada revoked" in wopr("token", "revoke", "ada").out
    assert 1 == wopr("token", "revoke", "ada").code
    acts = wopr("acts", "--json").json["acts"]
    assert ["revoke-token", "create-token"] == [one["verb"] for one in acts[:2]]
    undone = wopr("undo", str(acts[0]["number"]))
    assert 1 == undone.code
    assert "can't be taken back" in undone.err
    assert [] == wopr("token", "list", "--json").json["tokens"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "a b", "--role", "read"), "can't be the name of a token"),
        (("create", "ada", "--role", "root"), "'root' is not one of"),
        (("create", "ada", "--role", "read", "--expires", "soon"), "90d"),
        (("create", "ada"), "--role"),
    ],
)
def test_what_is_wrong_is_told_and_makes_no_token(
    wopr: Call, words: tuple[str, ...], said: str
) -> None:
    refused = wopr("token", *words)
    assert 2 == refused.code
    assert said in refused.err
    assert "There are no tokens" in wopr("token", "list").out


def test_a_name_is_one_token_s_at_a_time(wopr: Call) -> None:
    wopr("token", "create", "ada", "--role", "read")
    again = wopr("token", "create", "ada", "--role", "admin")
    assert 2 == again.code
    assert "wopr token revoke ada" in again.err
    wopr("token", "revoke", "ada")
    assert 0 == wopr("token", "create", "ada", "--role", "admin").code
