"""What was shown without its secrets comes back edited: secrets stay, masks are never stored."""

from __future__ import annotations

from typing import Any

import pytest

from wopr.domain.errors import InvalidCallError
from wopr.domain.masking import masked
from wopr.domain.unmasking import unmasked

ORIGINAL = {
    "password": "p",
    "nested": [{"token": "t", "n": 1}, "postgres://u:secret@h/db"],
    "said": "***",
    "plain": "a *** b",
}


def test_what_comes_back_as_it_was_shown_is_the_original() -> None:
    assert unmasked(masked(ORIGINAL), ORIGINAL) == ORIGINAL


def test_a_secret_is_replaced_and_the_rest_edited() -> None:
    edited = {
        "password": "p",
        "nested": [{"token": "new", "n": "2"}, "postgres://u:other@h/db", "more"],
        "plain": "c *** d",
        "x": {"y": ["z"]},
    }
    assert unmasked(edited, ORIGINAL) == edited


@pytest.mark.parametrize(
    "edited",
    [
        {"x": "***"},
        {"nested": ["***"]},
        {"nested": [{"n": "***"}]},
        {"nested": [{}, "postgres://u:***@other/db"]},
        {"password": ["***"]},
    ],
)
def test_a_mask_is_taken_from_its_own_place_only(edited: Any) -> None:
    with pytest.raises(InvalidCallError, match="stands for a secret"):
        unmasked(edited, ORIGINAL)
