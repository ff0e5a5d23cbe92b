"""What is printed is safe for a terminal and for a JSON parser."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from wopr.cli.output import age, document, pairs, plain, say, table, utc
from wopr.domain.status import TaskPriority, TaskStatus
from wopr.domain.terminal import clean


@pytest.mark.parametrize(
    ("stored", "printed"),
    [
        ("plain", "plain"),
        ("äöü 漢字 🦆", "äöü 漢字 🦆"),
        ("\x1b[2J\x1b[31mred", "[2J[31mred"),
        ("a\x00b\x07c\x7fd\x9be", "abcde"),
        ("one\ntwo\tthree\rfour", "one two three four"),
        ("abc\u202ecba\u2066x\u200b", "abccbax"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("line\u2028separator", "lineseparator"),
    ],
)
def test_control_characters_do_not_reach_a_terminal(stored: str, printed: str) -> None:
    assert printed == clean(stored)


def test_lines_are_kept_where_several_are_shown() -> None:
    assert "one\n\ttwo three" == clean("one\n\ttwo\rthree", lines=True)


def test_a_table_takes_no_orders_from_what_is_stored(capsys: pytest.CaptureFixture[str]) -> None:
    table(("id", "x\x1b[1m"), [("[bold]1[/bold]", "\x1b]0;title\x07"), ("2", ":smile:")])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[bold]1[/bold]" in out
    assert ":smile:" in out


@pytest.mark.parametrize("columns", ["20", "60", "400"])
def test_a_table_has_one_line_per_row_however_narrow_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    task_id = "01890000-0000-7000-8000-000000000000"
    table(("id", "category", "n"), [(task_id, "reports of the month", 7), (task_id, "x", 123)])
    assert [
        "id                                    category                n",
        f"{task_id}  reports of the month    7",
        f"{task_id}  x                     123",
    ] == [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_cell_of_a_table_has_a_longest_length(capsys: pytest.CaptureFixture[str]) -> None:
    table(("text",), [("x" * 100_000,)])
    assert "x" * 159 + "…" == capsys.readouterr().out.splitlines()[1].rstrip()


def test_lines_and_pairs_are_clean_too(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[31m\nb")
    pairs({"error": "x\x1b[0m\ny"})
    assert "a[31m b\nerror  x[0m\n       y\n" == capsys.readouterr().out


def test_times_for_people_are_utc() -> None:
    east = timezone(timedelta(hours=2))
    assert "2026-11-21 10:00:00Z" == utc(datetime(2026, 11, 21, 12, tzinfo=east))
    assert "2026-11-21 12:00:00Z" == utc(datetime(2026, 11, 21, 12))
    assert "" == utc(None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0123, "0.0123 s"),
        (59, "59 s"),
        (125, "2 min 5 s"),
        (12_000, "3 h 20 min"),
        (5 * 86_400 + 7_200, "5 d 2 h"),
    ],
)
def test_ages_have_two_units(seconds: float | None, text: str) -> None:
    assert text == age(seconds)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (TaskStatus.FAILED, "failed"),
        (TaskPriority.HIGH, 3),
        (float("nan"), None),
        (float("inf"), None),
        (Decimal("1.5"), 1.5),
        (Decimal("NaN"), None),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (timedelta(minutes=1), 60.0),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\x00\xff", "00ff"),
        ({1: {"a"}}, {"1": ["a"]}),
        (Path("x/y"), "x/y"),
        ((1, [None, True]), [1, [None, True]]),
    ],
)
def test_every_value_has_a_json_form(value: object, expected: object) -> None:
    assert expected == plain(value)


def test_a_document_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    document({"text": "ä\x1b\u202e"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert {"text": "ä\x1b\u202e"} == json.loads(out)
