"""The scripts of the repository, called from elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT

TELL = 'echo "$PWD" "$@"\n'


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a clone whose .venv is ready and whose commands only tell how they were called."""
    clone = tmp_path / "a clone"
    shutil.copytree(ROOT / "scripts", clone / "scripts")
    programs = clone / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("wopr", "python"):
        version_is_fine = 'if [ "$1" = -c ]; then exit 0; fi\n' if name == "python" else ""
        (programs / name).write_text(f"#!/bin/sh\n{version_is_fine}{TELL}")
        (programs / name).chmod(0o755)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, clone)
    called("scripts/demo", clone)  # writes down what is "installed"
    return clone


def called(script: str, clone: Path, *args: str, start: Path | None = None) -> str:
    """Return the last line that a script of the clone prints."""
    return lines_of(script, clone, *args, start=start)[-1]


def lines_of(script: str, clone: Path, *args: str, start: Path | None = None) -> list[str]:
    """Return the lines that a script of the clone prints."""
    done = subprocess.run(
        [clone / script, *args], cwd=start or clone, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for a Unix shell")
@pytest.mark.parametrize("script", ["scripts/demo", "scripts/bench"])
def test_a_relative_path_is_the_callers(clone: Path, tmp_path: Path, script: str) -> None:
    said = called(script, clone, "--json", "here.json", start=tmp_path)
    assert said.startswith(f"{tmp_path} ")
    assert said.endswith("--json here.json")


@pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for a Unix shell")
def test_the_tests_are_those_of_the_clone_wherever_they_are_called(
    clone: Path, tmp_path: Path
) -> None:
    assert f"{clone} -m pytest tests/domain" == called(
        "scripts/test", clone, "tests/domain", start=tmp_path
    )


@pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for a Unix shell")
def test_the_fast_tests_are_two_halves_of_folders_that_exist(clone: Path, tmp_path: Path) -> None:
    halves = lines_of("scripts/test", clone, "--fast", "-x", start=tmp_path)
    folders = [word for half in halves for word in half.split() if word.startswith("tests/")]
    assert 2 == len(halves)
    for half in halves:
        assert half.startswith(f"{clone} -m pytest -q -m not slow and not crash tests/")
        assert half.endswith(" -x")
    assert sorted(set(folders)) == sorted(folders)
    assert [] == [folder for folder in folders if not list((ROOT / folder).glob("test_*.py"))]
    assert {"tests/domain", "tests/storage/contract", "tests/behaviour/flows"} <= set(folders)


@pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for a Unix shell")
@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [(0, 0, 0), (1, 0, 1), (0, 1, 1), (5, 0, 0), (0, 5, 0), (5, 5, 5), (5, 1, 1), (1, 5, 1)],
)
def test_the_fast_tests_fail_when_one_half_does_and_pass_when_one_has_nothing_to_run(
    clone: Path, one: int, two: int, expected: int
) -> None:
    python = clone / ".venv" / "bin" / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *tests/domain*) exit {one};; *"-m pytest"*) exit {two};; esac\n'
    )
    done = subprocess.run([clone / "scripts" / "test", "--fast", "-k", "x"], check=False)
    assert expected == done.returncode


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Return a clone whose checks only say that they were called, and fail where they are told."""
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / ".ci", clone / ".ci")
    for name, words in {
        "scripts/test": "test",
        "scripts/lint": "lint",
        ".venv/bin/python": "",
    }.items():
        program = clone / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(
            f'#!/bin/sh\necho {words} "$@"\ncase "{words} $*" in *"$BROKEN"*) exit 7;; esac\n'
        )
        program.chmod(0o755)
    return clone


@pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for a Unix shell")
@pytest.mark.parametrize(
    ("broken", "expected"), [("nothing", 0), ("tests/model", 7), ("lint", 7), ("tests/typing", 7)]
)
def test_the_gate_runs_each_part_whatever_fails_and_shows_last_what_did(
    gate: Path, broken: str, expected: int
) -> None:
    env = {**os.environ, "BROKEN": broken}
    done = subprocess.run([gate / ".ci/run"], env=env, capture_output=True, text=True, check=False)
    assert expected == done.returncode, done.stderr
    said = done.stdout.splitlines()
    folders = {
        folder.name for folder in (ROOT / "tests").iterdir() if list(folder.rglob("test_*.py"))
    }
    called = [word for line in said if line.startswith("test ") for word in line.split()]
    assert folders == {word.split("/")[1] for word in called if word.startswith("tests/")}
    parts = [line for line in said if line.startswith("== ")]
    half = len(parts) // 2
    assert sorted(parts[:half]) == sorted(parts[half:]), "each part says what it took, then all do"
    assert parts[half:] == said[-half:]
    assert expected == 0 or broken in " ".join(said[-half - 3 : -half])
