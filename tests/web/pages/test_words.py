"""The selection language as one types it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from wopr.domain.errors import InvalidCallError
from wopr.web.pages import words


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", {}),
        ("status=failed name=send_mail", {"status": ["failed"], "name": ["send_mail"]}),
        ("status:failed status=retry", {"status": ["failed", "retry"]}),
        ("failed send_mail", {"status": ["failed"], "name": ["send_mail"]}),
        ("01a227fe", {"ids": ["01a227fe"]}),
        ("id=01a2", {"ids": ["01a2"]}),
        ('"no route"', {"error": ["no route"]}),
        (r'error="say \"hi\""', {"error": ['say "hi"']}),
        ("name=a=b", {"name": ["a=b"]}),
        ("Failed", {"status": ["failed"]}),
    ],
)
def test_a_line_is_read(line: str, expected: words.Given) -> None:
    assert expected == words.parse(line)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("colour=red", "no word 'colour'"),
        ("since=1h since=2h", "twice"),
        ('name="open', "can't be read"),
        ("x" * 5_000, "4,000 letters"),
    ],
)
def test_what_can_not_be_read_is_refused_with_a_letter(line: str, said: str) -> None:
    with pytest.raises(InvalidCallError, match=said):
        words.parse(line)


_VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=30)


@given(
    st.dictionaries(st.sampled_from(words.SEVERAL), st.lists(_VALUES, min_size=1, max_size=3)),
    st.dictionaries(st.sampled_from(words.ONE), _VALUES.map(lambda one: [one])),
)
def test_what_is_written_is_read_again(several: words.Given, one: words.Given) -> None:
    given_ = {**several, **one}
    assert words.parse(words.text_of(given_)) == given_


def test_the_words_of_a_url_become_a_selection() -> None:
    found = words.given_of(QueryParams("status=failed&id=a&id=b&since=2h&where=true&other=1"))
    assert words.selection(found) == {
        "status": ["failed"],
        "ids": ["a", "b"],
        "since": timedelta(hours=2),
        "condition": "true",
    }
    moment = words.selection({"until": ["2030-05-17T12:00Z"]})["until"]
    assert moment == datetime(2030, 5, 17, 12, tzinfo=UTC)
    with pytest.raises(InvalidCallError, match="since= takes 2h"):
        words.selection({"since": ["yesterday"]})


def test_the_last_word_of_a_line_is_completed() -> None:
    known = {"status": ["failed", "retry"], "name": ["send_mail", "mail"]}
    assert words.complete("sta", known) == ["status="]
    assert words.complete("name=x status=f", known) == ["name=x status=failed "]
    assert words.complete("name=mai", known) == ["name=mail ", "name=send_mail "]
    assert "name=send_mail " in words.complete("mail", known)
    assert words.complete("", known)[0] == "status="
