"""Access tokens: what is stored of them, and whom they let in."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from wopr.domain.accesstoken import (
    AccessToken,
    check_token_name,
    find_token,
    life_of,
    new_token,
)
from wopr.domain.errors import InvalidCallError
from wopr.domain.role import Role
from wopr.domain.stored import check_rule

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def made(name: str = "ada", number: int = 1, days: int | None = 90) -> tuple[str, AccessToken]:
    life = None if days is None else timedelta(days=days)
    return new_token(name, Role.OPERATE, bytes([number]) * 32, NOW, life)


def test_the_token_is_in_nothing_that_is_stored() -> None:
    text, token = made()
    assert text.startswith("wopr_")
    assert 48 == len(text)
    assert text not in token.to_rule().value
    assert text[5:] not in token.to_rule().value


def test_what_is_stored_is_read_as_it_was() -> None:
    for days in (90, None):
        _, token = made(days=days)
        check_rule(token.to_rule())
        assert token == AccessToken.from_rule(token.to_rule())


def test_each_holder_is_found_until_the_token_expires() -> None:
    (one, ada), (two, bob) = made(), made("bob", 2, days=None)
    both = [ada, bob]
    assert ada == find_token(both, one, NOW)
    assert bob == find_token(both, two, NOW + timedelta(days=3_000))
    assert find_token(both, one, NOW + timedelta(days=90)) is None


@pytest.mark.parametrize(
    "given", ["", "wopr_", "x", "wopr_é", "wopr_" + "a" * 10_000, "Wopr_" + "A" * 43]
)
def test_nothing_else_lets_anybody_in(given: str) -> None:
    _, token = made()
    assert find_token([token], given, NOW) is None
    assert find_token([token], token.digest, NOW) is None
    assert find_token([token], "wopr_" + token.digest, NOW) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("digest", "0" * 63), ("session", 7), ("role", "root"), ("name", "bob"), ("expires_at", "x")],
)
def test_a_row_that_is_no_token_is_refused(field: str, value: object) -> None:
    _, token = made()
    rule = token.to_rule()
    wrong = replace(rule, value=json.dumps({**json.loads(rule.value), field: value}))
    with pytest.raises(InvalidCallError, match="The token 'ada' can't be read"):
        check_rule(wrong)


@pytest.mark.parametrize(
    ("text", "hours"), [("12h", 12), ("90d", 90 * 24), ("2w", 336), ("1y", 8_760), (" 1d ", 24)]
)
def test_how_long_a_token_lives(text: str, hours: int) -> None:
    assert timedelta(hours=hours) == life_of(text)


@pytest.mark.parametrize("text", ["", "90", "d", "0d", "-1d", "1.5d", "99999y", "11y", "1m", "٣d"])
def test_what_says_no_life_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidCallError, match="90d"):
        life_of(text)


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a\nb", "x" * 101, "ä", "a:b", "<a>"])
def test_a_name_that_could_not_stand_in_a_header_is_refused(name: str) -> None:
    with pytest.raises(InvalidCallError):
        check_token_name(name)
