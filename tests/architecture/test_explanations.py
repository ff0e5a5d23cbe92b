"""What an Explanation lists as its reasons is what the code gives, no more and no less."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from support.paths import ROOT
from support.sources import Source, calls, package_sources
from wopr import Explanation

MAKER = "src/wopr/insights/explain.py"
"""Where reasons are found. Each is a ``Because`` with a literal reason."""
OF_FLEETS = "src/wopr/fleet/explaining.py"
"""The same for a queue that many hosts share: reasons of a file, and no others."""
CARRIERS = {MAKER, OF_FLEETS, "src/wopr/remote/protocol.py"}
"""Where an Explanation is made of a reason that came from somewhere else: a ``Because``, or
the owner's answer."""

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    """Return what a call gives for an argument; ``None`` if that can't be seen there."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    given = call.args[: position + 1]
    seen = len(given) > position and not any(isinstance(one, ast.Starred) for one in given)
    return given[position] if seen else None


def given(source: Source) -> Iterator[tuple[ast.Call, ast.expr | None]]:
    """Yield the calls that give a reason for an explanation, and what they give."""
    for call, name in calls(source.tree):
        made = name.rpartition(".")[2]
        reason = argument(call, {"Because": 0}.get(made, 2), "reason")
        carried = reason is None and source.name in CARRIERS
        if made == "Because" or (made == "Explanation" and not carried):
            yield call, reason
    for function in ast.walk(source.tree):
        if isinstance(function, FUNCTIONS) and explains(function.returns):
            for call, name in calls(function):
                changed = argument(call, 99, "reason")
                if name.endswith("replace") and changed is not None:
                    yield call, changed


def explains(annotation: ast.expr | None) -> bool:
    """Whether a function with this annotation returns an Explanation."""
    return annotation is not None and bool(re.search(r"\bExplanation\b", ast.unparse(annotation)))


def reasons(source: Source) -> set[str]:
    """Return the reasons that a file gives; each must be a literal, so that it can be seen."""
    found = set()
    for call, reason in given(source):
        where = f"{source.name}:{call.lineno}"
        assert isinstance(reason, ast.Constant), f"{where}: no literal reason"
        assert isinstance(reason.value, str), f"{where}: no literal reason"
        found.add(reason.value)
    return found


@cache
def given_reasons() -> dict[str, set[str]]:
    """Return the reasons by the file that gives them."""
    found = {source.name: reasons(source) for source in package_sources()}
    return {name: those for name, those in found.items() if those}


def listed_reasons() -> list[str]:
    """Return the reasons of the docstring, in its order."""
    text = " ".join((Explanation.__doc__ or "").split())
    lists = re.findall(r"(?:is one of|says besides): ([^.]*)\.", text)
    return [reason for one in lists for reason in one.split(", ")]


def documented_reasons() -> list[str]:
    """Return the reasons of the table that tells operators what to do."""
    page = (ROOT / "docs" / "guides" / "operations.md").read_text(encoding="utf-8")
    table = page.partition("| reason | what to do |")[2].partition("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    return [reason for cell in cells for reason in re.findall("`([^`]+)`", cell)]


def test_the_reasons_are_found_in_three_places() -> None:
    found = given_reasons()
    assert {MAKER, OF_FLEETS, "src/wopr/cli/tasks.py"} == found.keys()
    assert found[OF_FLEETS] <= found[MAKER]


@pytest.mark.parametrize("listed", [listed_reasons, documented_reasons])
def test_every_reason_is_listed_once(listed: Callable[[], list[str]]) -> None:
    assert sorted(set.union(*given_reasons().values())) == sorted(listed())


def test_what_only_the_command_says_is_told_apart() -> None:
    text = " ".join((Explanation.__doc__ or "").split())
    [besides] = re.findall(r"`wopr tasks explain`` says besides: ([^.]*)\.", text)
    assert given_reasons()["src/wopr/cli/tasks.py"] == set(besides.split(", "))


@pytest.mark.parametrize(
    "program",
    [
        "Explanation(id, status, 'new', text)",
        "Explanation(id, status, reason='new', text='')",
        "answers.Explanation(id, status, 'new', text)",
        "Because('new', text)",
        "def f() -> Explanation:\n    return replace(answer, reason='new')",
        "async def f() -> Explanation | None:\n    return d.replace(answer, reason='new')",
    ],
)
def test_a_new_reason_is_seen(program: str) -> None:
    assert {"new"} == reasons(planted(program))


@pytest.mark.parametrize(
    "program",
    [
        "Explanation(id, status, reason, text)",
        "Explanation(id, status, *because)",
        "Explanation(**plain)",
        "Because(reason, text)",
        "def f() -> Explanation:\n    return replace(answer, reason=reason)",
    ],
)
def test_a_reason_that_can_not_be_seen_is_refused(program: str) -> None:
    with pytest.raises(AssertionError, match="no literal reason"):
        reasons(planted(program))


def test_the_reason_of_a_schedule_is_another_matter() -> None:
    program = "def f() -> ScheduleInfo:\n    return replace(info, reason='new')"
    assert set() == reasons(planted(program))


def test_a_reason_beside_the_others_is_seen() -> None:
    program = "Explanation(id, status, *because)\nExplanation(id, status, 'new', text)"
    assert {"new"} == reasons(planted(program, MAKER))


def planted(program: str, name: str = "src/wopr/planted.py") -> Source:
    return Source(ROOT / name, program, ast.parse(program))
