"""What is printed is safe for a terminal and for a JSON parser."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from wopr.cli.fitting import Column, Kind, Table
from wopr.cli.output import document, pairs, plain, say, table
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
    form = Table("Things", (Column("id"), Column("x\x1b[1m")))
    table(form, [("[bold]1[/bold]", "\x1b]0;title\x07"), ("2", ":smile:")])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[bold]1[/bold]" in out
    assert ":smile:" in out


def test_a_table_beside_a_terminal_is_as_wide_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS")
    form = Table("Things", (Column("id", Kind.ID), Column("text", Kind.TEXT, 8), Column("n")))
    task_id = "01890000-0000-7000-8000-000000000000"
    table(form, [(task_id, "x" * 100, 7), (task_id, "y", 123)], prefix=13)
    assert [
        "Things",
        f"id{'':34}  text{'':96}    n",
        f"{task_id}  {'x' * 100}    7",
        f"{task_id}  y{'':99}  123",
    ] == capsys.readouterr().out.splitlines()


def test_a_cell_of_a_table_has_a_longest_length(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS")
    table(Table("Texts", (Column("text"),)), [("x" * 100_000,)])
    assert "x" * 159 + "…" == capsys.readouterr().out.splitlines()[2]


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        ("400", ["Task", "id    0123456789", "text  漢字 and more", "      lines"]),
        ("18", ["Task", "id    0123456789", "text", "  漢字 and more", "  lines"]),
        ("12", ["Task", "id", "  0123456789", "text", "  漢字 and", "  more", "  lines"]),
    ],
)
def test_what_has_no_room_beside_its_name_is_below_it(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
    lines: list[str],
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    pairs("Task", {"id": "0123456789", "text": "漢字 and more\nlines", "none": ""})
    assert [*lines, "none"] == capsys.readouterr().out.splitlines()


def test_lines_and_pairs_are_clean_too(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[31m\nb")
    pairs("Task\x1b", {"error": "x\x1b[0m\ny"})
    assert "a[31m b\nTask\nerror  x[0m\n       y\n" == capsys.readouterr().out


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
        (datetime(2026, 1, 2), "2026-01-02T00:00:00+00:00"),
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
    assert {"version": 1, "text": "ä\x1b\u202e"} == json.loads(out)
