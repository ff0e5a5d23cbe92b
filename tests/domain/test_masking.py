"""Secrets are taken out of texts and values, whatever form they come in."""

from __future__ import annotations

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from wopr.domain.masking import MASK, is_secret, mask, masked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=hunter2 user=ada", "password=*** user=ada"),
        ("DB_PASSWORD = hunter2", "DB_PASSWORD = ***"),
        ("passwd='two words' x", "passwd='***' x"),
        ("accessToken=abc,user=ada", "accessToken=***"),
        ("token: abc, user: ada", "token: ***, user: ada"),
        ("aws_secret_access_key=AKIA/+==", "aws_secret_access_key=***"),
        ('{"password": "hun\\"ter2", "user": "ada"}', '{"password": "***", "user": "ada"}'),
        ("{'api_key': 'k e y', 'user': 'ada'}", "{'api_key': '***', 'user': 'ada'}"),
        (r"{\"token\": \"abc\", \"user\": 1}", r"{\"token\": \"***\", \"user\": 1}"),
        ("X-Api-Key: 123", "X-Api-Key: ***"),
        ("Authorization: Basic Zm9vOmJhcg==", "Authorization: ***"),
        ("Authorization: Digest a=b, response=c\nHost: x", "Authorization: ***\nHost: x"),
        ("Cookie: a=b; session=c\nHost: x", "Cookie: ***\nHost: x"),
        ("{'Authorization': 'Bearer x', 'a': 1}", "{'Authorization': '***', 'a': 1}"),
        ("sent Bearer abc.def.ghi to it", "sent Bearer *** to it"),
        ("https://ada:p@ss@host/x?token=abc&page=1", "https://ada:***@host/x?token=***&page=1"),
        ("redis://:hunter2@host:6379/0", "redis://:***@host:6379/0"),
        (r"secret=a\b\c user=ada", "secret=*** user=ada"),
    ],
)
def test_a_secret_is_found_by_the_word_beside_it(text: str, expected: str) -> None:
    assert expected == mask(text)


@pytest.mark.parametrize(
    "text",
    [
        "the token expired",
        "max_tokens=512",
        "secretary: Ada",
        "https://host:8080/path@x",
        "https://ada@host/",
        "author: Ada",
        "password=",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert text == mask(text)


@pytest.mark.parametrize("length", range(13, 40))
def test_a_secret_in_a_text_that_was_cut_off_is_not_shown(length: int) -> None:
    cut = '{"password": "hunter2hunter2\\"hunter2"}'[:length]
    assert "unter2" not in mask(cut)


@given(st.text(), st.text(alphabet=st.characters(categories=["L", "N"]), min_size=4))
def test_a_json_text_holds_nothing_of_its_secret(other: str, secret: str) -> None:
    secret = f"<{secret}>"
    assert secret not in mask(json.dumps({"password": secret + other, "x": 1}, ensure_ascii=False))


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        "token" + "\\" * 1_000_000,
        "password" * 100_000,
        'password: "' * 100_000,
        "://a:" * 200_000,
        ("token" + "\\" * 1_000) * 500,
        "token=" + "\\" * 500_000 + '"' + "\\" * 500_000,
    ],
    ids=["word", "backslashes", "words", "quotes", "urls", "many backslashes", "a long quote"],
)
@pytest.mark.timeout(20)
def test_no_text_is_slow(text: str) -> None:
    assert mask(text)  # a quadratic pattern takes minutes for these


def test_masking_twice_changes_nothing_more() -> None:
    once = mask("password=a https://u:p@h Authorization: Bearer x")
    assert once == mask(once)


@pytest.mark.parametrize("name", ["password", "dbPassword", "PGPASSWORD", "X-Api-Key", "cookies"])
def test_a_name_tells_that_its_value_is_secret(name: str) -> None:
    assert is_secret(name)
    assert {name: MASK} == masked({name: "x"})


@pytest.mark.parametrize("name", ["author", "tokens", "monkey", "key", "secretary"])
def test_other_names_do_not(name: str) -> None:
    assert not is_secret(name)


def test_values_become_what_json_can_hold() -> None:
    class Silent:
        def __str__(self) -> str:
            raise ValueError

    loop: list[object] = []
    loop.append(loop)
    value = {
        "deep": [1, {"password": 3, "url": "x://u:p@h"}],
        "number": float("nan"),
        "day": date(2030, 5, 17),
        "silent": Silent(),
        "token": None,
        5: "five",
        "loop": loop,
    }
    shown = masked(value)
    assert {
        "deep": [1, {"password": MASK, "url": "x://u:***@h"}],
        "number": "nan",
        "day": "2030-05-17",
        "silent": "(Silent: its text can't be read)",
        "token": None,
        "5": "five",
        "loop": [[[[["…"]]]]],
    } == shown
    assert json.dumps(shown, allow_nan=False)


@pytest.mark.timeout(20)
def test_a_value_that_holds_itself_many_times_is_not_followed_everywhere() -> None:
    many: list[object] = []
    many.extend([many] * 1_000)
    shown = masked(many)
    assert isinstance(shown, list)
    assert 1_000 == len(shown)
    assert len(json.dumps(shown)) < 500_000  # there are 10 to the 18th ways through it


def test_a_plain_list_is_shown_whole() -> None:
    assert list(range(50_000)) == masked(list(range(50_000)))


def test_values_that_pydantic_refused_are_masked_by_the_names_of_their_fields() -> None:
    class Login(BaseModel):
        user: int
        password: str = Field(min_length=20)
        api_keys: dict[str, int]

    with pytest.raises(ValidationError) as caught:
        Login.model_validate({"user": "ada", "password": "hunter2", "api_keys": {"a": "s3cr3t"}})
    text = mask(str(caught.value))
    assert "hunter2" not in text
    assert "s3cr3t" not in text
    assert "input_value='ada'" in text
