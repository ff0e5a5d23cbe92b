"""Texts take the places of a terminal that another library counts, too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from wopr.cli.places import cut, places, wrapped
from wopr.domain.terminal import clean

TEXTS = st.text(st.sampled_from("ab -.äé漢字🦆\u0301한ｱＡ"), max_size=40)


@pytest.mark.parametrize("text", ["", "abc", "äöü", "漢字", "🦆", "e\u0301", "한국어", "ｱ", "Ａ"])
def test_letters_are_as_wide_as_terminals_show_them(text: str) -> None:
    assert cell_len(text) == places(text)


@given(TEXTS, st.integers(2, 12))
def test_no_line_is_too_wide_and_no_letter_is_lost(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert all(places(line) <= width for line in lines)
    assert "".join(text.split()) == "".join("".join(lines).split())
    assert places(cut(clean(text), width)) <= width


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("one two three", ["one two", "three"]),
        ("  one two", ["  one", "two"]),
        ("a abcdefghijk b", ["a", "abcdefgh", "ijk b"]),
        ("one\n\ntwo", ["one", "", "two"]),
        ("漢字漢字漢字", ["漢字漢字", "漢字"]),
    ],
)
def test_words_stay_whole_if_they_can(text: str, lines: list[str]) -> None:
    assert lines == wrapped(text, 8)
    assert text.split("\n") == wrapped(text, None)


def test_a_cut_text_says_so() -> None:
    assert ("漢字", "漢…", "abc…") == (cut("漢字", 4), cut("漢字", 3), cut("abc def", 5))


def test_a_word_of_a_megabyte_is_wrapped_too() -> None:
    assert 12_500 == len(wrapped("x" * 1_000_000, 80))
