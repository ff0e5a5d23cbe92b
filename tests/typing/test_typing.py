"""The public API is typed: mypy --strict and pyright accept right uses and reject wrong ones."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.paths import ROOT
from support.programs import run

HERE = Path(__file__).parent
Lines = dict[int, str]


def mypy(page: Path) -> Lines:
    """Return what mypy says about ``page``, by line."""
    done = run([sys.executable, "-m", "mypy", "--strict", "--no-pretty", page], ROOT, timeout=110)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    pattern = rf"^[^:\n]*{page.name}:(\d+): (error: .*)$"
    found = {int(line): text for line, text in re.findall(pattern, done.stdout, re.MULTILINE)}
    assert (done.returncode == 1) == bool(found), done.stdout  # errors elsewhere are no pass
    return found


def pyright(page: Path) -> Lines:
    """Return what pyright says about ``page``, by line."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = run([*command, page], ROOT, timeout=110)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1, done.stdout
    return {
        entry["range"]["start"]["line"] + 1: entry["message"]
        for entry in report["generalDiagnostics"]
        if entry["severity"] == "error"
    }


CHECKERS = [pytest.param(mypy, id="mypy"), pytest.param(pyright, id="pyright")]


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKERS)
def test_right_uses_are_accepted(check: Callable[[Path], Lines]) -> None:
    assert check(HERE / "api_ok.py") == {}


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKERS)
def test_each_wrong_use_is_rejected_and_nothing_else(check: Callable[[Path], Lines]) -> None:
    page = HERE / "api_errors.py"
    lines = page.read_text(encoding="utf-8").splitlines()
    marked = {number for number, line in enumerate(lines, start=1) if line.endswith("# error")}
    reported = check(page)
    accepted = {number: lines[number - 1].strip() for number in marked - reported.keys()}
    assert accepted == {}, "these wrong uses were accepted"
    assert {n: reported[n] for n in reported.keys() - marked} == {}, (
        "these right uses were rejected"
    )
