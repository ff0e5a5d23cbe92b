"""``wopr whatif``."""

from __future__ import annotations

import pytest

from support.commands import Call


def test_it_says_how_long_tasks_waited_and_would_have(wopr: Call) -> None:
    said = wopr("whatif", "--workers", "sums=3", "--limit", "sums=2", "--rate", "sums=100/minute")

    assert said.code == 0
    assert "was" in said.out
    assert "would be" in said.out
    assert "2 at the same time, 100 per 1 min" in said.out
    assert "Run times are those of then" in said.out


def test_one_document_has_all_of_it(wopr: Call) -> None:
    document = wopr("whatif", "--workers", "sums=3", "--json").json

    assert document["complete"] is True
    by_name = {one["category"]: one for one in document["categories"]}
    assert by_name["sums"]["workers"] == 3
    assert set(by_name["sums"]["was"]) == set(by_name["sums"]["would"])


def test_a_category_that_nothing_was_of_is_named(wopr: Call) -> None:
    said = wopr("whatif", "--workers", "sums=3", "--limit", "nosuch=2")
    assert "Nothing of category 'nosuch' started in that time" in said.err
    assert "'sums'" not in said.err


def test_a_time_without_starts_is_told(wopr: Call) -> None:
    said = wopr("whatif", "--since", "3h", "--until", "2h")

    assert said.code == 0
    assert "Nothing started in that time" in said.out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--workers", "sums"), "CATEGORY=VALUE, like mail=8, not 'sums'"),
        (("--workers", "sums=0"), "a whole number from 1 on"),
        (("--limit", "sums=many"), "a whole number from 1 on"),
        (("--rate", "sums=fast"), "rate must be"),
        (("--since", "yesterday"), "--since takes"),
        (("--since", "1h", "--until", "2h"), "is not before"),
    ],
)
def test_what_can_not_be_asked_is_refused(wopr: Call, words: tuple[str, ...], why: str) -> None:
    said = wopr("whatif", *words)

    assert said.code == 2
    assert why in said.err
