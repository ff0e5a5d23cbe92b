"""The line that tells how far something is: on a terminal only, and gone at the end."""

from __future__ import annotations

import io

import pytest

from wopr.cli.fitting import Column, Table
from wopr.cli.output import say, table
from wopr.cli.progress import Progress


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        """Be one."""
        return True


def test_it_is_written_over_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = Terminal()
    with Progress("Deleting", out=out) as line:
        line.show(1_500, 3_000)
        line.show(1_500, 3_000)
        line.clear()
        line.show(text="Tidying")
    shown = out.getvalue().split("\r\x1b[K")
    half = f"{'█' * 15}{'░' * 15} 1,500/3,000 Deleting"
    assert ["", "Deleting…", half, "", "Tidying…", ""] == shown


def test_it_has_one_line_and_takes_no_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    out = Terminal()
    Progress("x", out=out).write("a\x1b[2J\nb" + "漢" * 50)
    assert "\r\x1b[Ka[2J b漢漢漢漢漢漢…" == out.getvalue()


def test_beside_a_terminal_and_when_hidden_nothing_is_written() -> None:
    quiet, hidden = io.StringIO(), Terminal()
    for line in (Progress("x", out=quiet), Progress("x", hidden=True, out=hidden)):
        with line:
            line.show(1, 2)
        assert not line.shown
    assert ("", "") == (quiet.getvalue(), hidden.getvalue())


@pytest.mark.parametrize(
    ("variables", "colored"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True),
    ],
)
def test_a_terminal_has_colours_unless_it_is_told_not_to(
    variables: dict[str, str], colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Terminal()
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", out)
    table(Table("T", (Column("status"), Column("n"))), [("failed", 1), ("other", 2)])
    say("plain")
    lines = out.getvalue().splitlines()
    assert "plain" == lines.pop()
    failed = "\x1b[31mfailed\x1b[0m  1" if colored else "failed  1"
    title = "\x1b[1mT\x1b[0m" if colored else "T"
    assert [title, "status  n", failed, "other   2"] == lines
