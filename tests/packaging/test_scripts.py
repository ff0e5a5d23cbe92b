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
    done = subprocess.run(
        [clone / script, *args], cwd=start or clone, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


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
    assert f"{clone} -m pytest tests/unit" == called(
        "scripts/test", clone, "tests/unit", start=tmp_path
    )
