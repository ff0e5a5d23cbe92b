"""Commands made of functions: what is typed becomes what their signatures say."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import click
import pytest
from click.testing import CliRunner, Result

from support.commands import call
from wopr.cli.declared import Argument, Command, Group, Option
from wopr.cli.main import COMMANDS


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


got: list[tuple[Any, ...]] = []


def send(
    name: Annotated[str, Argument(metavar="NAME", help="Of whom.")],
    more: Annotated[list[str] | None, Argument(metavar="[MORE]...", help="Others.")] = None,
    size: Annotated[Size, Option("--size", "-s", help="How large.")] = Size.SMALL,
    count: Annotated[int, Option("--count", min=1, max=9, help="How many.")] = 3,
    seconds: Annotated[float | None, Option(min=0, help="How long.")] = None,
    tags: Annotated[list[Size] | None, Option("--tag", help="Which.")] = None,
    into: Annotated[Path | None, Option("--into", metavar="FILE", help="Where to.")] = None,
    loud: Annotated[bool, Option("--loud", help="Shout.")] = False,
) -> None:
    """Send it to somebody.

    More about that.
    """
    got.append((name, more, size, count, seconds, tags, into, loud))


def typed(*words: str) -> Result:
    got.clear()
    group = Group("post", help="Letters.")
    group.command()(send)
    return CliRunner().invoke(group, ["send", *words])


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (("ada",), ("ada", None, Size.SMALL, 3, None, None, None, False)),
        (
            ("ada", "bob", "eve", "-s", "large", "--count", "9", "--seconds", ".5", "--loud"),
            ("ada", ["bob", "eve"], Size.LARGE, 9, 0.5, None, None, True),
        ),
        (
            ("ada", "--tag", "small", "--tag", "large", "--into", "a/b"),
            ("ada", None, Size.SMALL, 3, None, [Size.SMALL, Size.LARGE], Path("a/b"), False),
        ),
    ],
)
def test_what_is_typed_is_what_the_function_gets(
    words: tuple[str, ...], values: tuple[Any, ...]
) -> None:
    assert 0 == typed(*words).exit_code
    assert [values] == got


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "Missing argument 'NAME'"),
        (("ada", "--count", "0"), "'--count': Input should be greater than or equal to 1, not '0'"),
        (("ada", "--count", "10"), "'--count': Input should be less than or equal to 9, not '10'"),
        (("ada", "--count", "1.5"), "'--count': Input should be a valid integer, not '1.5'"),
        (("ada", "--seconds", "nan"), "Input should be greater than or equal to 0, not 'nan'"),
        (("ada", "--size", "huge"), "'huge' is not one of 'small', 'large'"),
        (("ada", "--into"), "Option '--into' requires an argument"),
        (("ada", "--lowd"), "No such option '--lowd'. Did you mean '--loud'?"),
        (("ada", "--count", "9" * 5_000), "valid integer, not '9999"),
    ],
)
def test_what_can_not_be_is_refused_with_what_was_typed(words: tuple[str, ...], why: str) -> None:
    done = typed(*words)
    assert (2, []) == (done.exit_code, got)
    assert why in done.stderr
    assert len(done.stderr) < 500


def test_help_tells_of_every_option_its_names_its_default_and_what_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    page = typed("--help").stdout
    assert "Usage: post send [OPTIONS] NAME [MORE]..." in page
    for line in (
        "Send it to somebody.",
        "NAME       Of whom.",
        "-s, --size WORD   How large. One of small, large.  [default: small]",
        "--count INTEGER   How many. From 1 to 9.  [default: 3]",
        "--seconds NUMBER  How long. At least 0.",
        "--loud            Shout.",
    ):
        assert line in page


@pytest.mark.parametrize("columns", [45, 80, 300])
@pytest.mark.parametrize("words", [(), ("tasks", "list"), ("series",), ("sql",), ("limits", "set")])
def test_help_fits_the_terminal(
    words: tuple[str, ...], columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = call(*words, "--help").out.splitlines()
    assert [] == [line for line in lines if len(line) > columns]


def test_commands_are_listed_in_their_order_with_their_first_paragraphs() -> None:
    lines = call("--help").out.partition("Commands:\n")[2].splitlines()
    assert [name for name, _, _ in COMMANDS] == [
        line.split()[0] for line in lines[: lines.index("")] if line[2:3].strip()
    ]
    assert "  Send it to somebody." in CliRunner().invoke(_group(), ["--help"]).stdout


def _group() -> click.Group:
    group = Group("post", help="Letters.")
    group.add_command(Command("send", callback=send))
    return group


def test_a_group_alone_prints_its_help_and_is_used_wrongly() -> None:
    answer = call("tasks")
    assert (2, "") == (answer.code, answer.err)
    assert answer.out == call("tasks", "--help").out == call("tasks", "-h").out


def test_a_command_that_there_is_not_is_told_with_those_it_may_be() -> None:
    assert "No such command 'lisst'. Did you mean 'list'?" in call("tasks", "lisst").err
