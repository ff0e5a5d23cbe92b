"""The public API is typed: mypy --strict and pyright accept right uses and reject wrong ones."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from support.paths import ROOT
from support.programs import run

HERE = Path(__file__).parent
Lines = dict[int, str]


RIGHT, WRONG = HERE / "api_ok.py", HERE / "api_errors.py"


@cache
def mypy() -> dict[Path, Lines]:
    """Return what mypy says about the two pages, by line."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty", RIGHT, WRONG]
    done = run(command, ROOT, timeout=110)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found: dict[Path, Lines] = {RIGHT: {}, WRONG: {}}
    told = re.findall(r"^([^:\n]*):(?:(\d+):)? (error: .*)$", done.stdout, re.MULTILINE)
    for page, line, text in told:
        assert line, text
        found[ROOT / page][int(line)] = text  # errors elsewhere are no pass
    assert (done.returncode == 1) == bool(told), done.stdout
    return found


@cache
def pyright() -> dict[Path, Lines]:
    """Return what pyright says about the two pages, by line."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = run([*command, RIGHT, WRONG], ROOT, timeout=110)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 2, done.stdout
    found: dict[Path, Lines] = {RIGHT: {}, WRONG: {}}
    for entry in report["generalDiagnostics"]:
        if entry["severity"] == "error":
            line = entry["range"]["start"]["line"] + 1
            found[Path(entry["file"])][line] = entry["message"]
    return found


CHECKERS = [pytest.param(mypy, id="mypy"), pytest.param(pyright, id="pyright")]


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKERS)
def test_right_uses_are_accepted(check: Callable[[], dict[Path, Lines]]) -> None:
    assert check()[RIGHT] == {}


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKERS)
def test_each_wrong_use_is_rejected_and_nothing_else(
    check: Callable[[], dict[Path, Lines]],
) -> None:
    lines = WRONG.read_text(encoding="utf-8").splitlines()
    marked = {number for number, line in enumerate(lines, start=1) if line.endswith("# error")}
    reported = check()[WRONG]
    accepted = {number: lines[number - 1].strip() for number in marked - reported.keys()}
    assert accepted == {}, "these wrong uses were accepted"
    assert {n: reported[n] for n in reported.keys() - marked} == {}, (
        "these right uses were rejected"
    )
