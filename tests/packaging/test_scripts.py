"""The scripts of the repository, called from elsewhere."""

from __future__ import annotations

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
