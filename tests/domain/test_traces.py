"""Tracebacks as text: what is kept of one is what the next one would say."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from wopr.domain import traces
from wopr.domain.traces import traceback_of


def divide(by: int) -> float:
    return 1 / by


def fail(text: str) -> None:
    raise ValueError(text)


def deep(levels: int) -> None:
    if levels:
        deep(levels - 1)
    fail("at the bottom")


def noted() -> None:
    error = ValueError("with a note")
    error.add_note("look there")
    raise error


def caused() -> None:
    try:
        divide(0)
    except ZeroDivisionError as error:
        raise LookupError("later") from error


def hidden() -> None:
    try:
        divide(0)
    except ZeroDivisionError:
        raise LookupError("alone") from None


def grouped() -> None:
    raise ExceptionGroup("both", [ValueError("a"), TypeError("b")])


def syntax() -> None:
    compile("1 +", "text", "eval")


class OwnError(Exception):
    """One whose text is no plain one."""

    class Text(str):
        __slots__ = ()

        def __format__(self, spec: str) -> str:
            return "never asked"

    def __str__(self) -> str:
        return self.Text(self.args[0]) if self.args else ""


def own(*args: str) -> None:
    raise OwnError(*args)


def missing() -> None:
    _ = traces.traceback_off  # type: ignore[attr-defined]


def raised(act: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as found:
        act()
    return found.value


@pytest.mark.parametrize(
    "act",
    [
        lambda: divide(0),
        lambda: fail("x"),
        lambda: deep(3),
        lambda: deep(100),
        noted,
        caused,
        hidden,
        grouped,
        syntax,
        own,
        lambda: own("text"),
        missing,
        lambda: int("x"),
    ],
    ids=[
        *("own", "other", "three", "hundred", "noted", "caused", "hidden", "grouped", "syntax"),
        *("empty", "class", "missing", "native"),
    ],
)
def test_it_is_what_python_says_the_first_time_and_the_second(act: Callable[[], object]) -> None:
    for _ in range(2):
        error = raised(act)
        assert "".join(traceback.format_exception(error)) == traceback_of(error)


def test_one_place_says_different_things() -> None:
    texts = [traceback_of(raised(lambda text=text: fail(text))) for text in ("one", "two")]
    assert ["ValueError: one\n", "ValueError: two\n"] == [
        text.splitlines(keepends=True)[-1] for text in texts
    ]


def test_only_so_many_places_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MOST_STACKS", 3)
    for number in range(10):
        scope: dict[str, Callable[[], object]] = {}
        exec(f"def act():\n{chr(10) * number}    raise ValueError\n", scope)
        traceback_of(raised(scope["act"]))
        assert len(traces._STACKS) <= 3


def test_an_error_without_a_traceback_is_one_line() -> None:
    error = ValueError("never raised")
    assert "".join(traceback.format_exception(error)) == traceback_of(error)


def test_two_files_that_say_the_same_are_told_apart() -> None:
    for path in ("/shop/tasks.py", "/bank/tasks.py"):
        names: dict[str, Callable[[], object]] = {}
        exec(compile("def act():\n    1 / 0\n", path, "exec"), names)
        assert f'File "{path}", line 2, in act' in traceback_of(raised(names["act"]))
