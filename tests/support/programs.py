"""Run a program as a user would: elsewhere, with the environment's `wopr` on the path."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

BIN = Path(sys.executable).parent


def clean_environment(first_on_path: Path = BIN) -> dict[str, str]:
    """Return this process's environment without settings of wopr, pytest or Python."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WOPR_", "PYTEST_", "PYTHON"))
    }
    kept["PATH"] = f"{first_on_path}{os.pathsep}{kept.get('PATH', os.defpath)}"
    kept["COLUMNS"] = "200"  # tables are not cut, whatever the terminal
    return kept


def run(
    command: Sequence[str | Path],
    cwd: Path,
    *,
    env: dict[str, str] | None = None,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` in ``cwd`` and return it with its output, whatever its exit code."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean_environment() if env is None else env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def run_ok(
    command: Sequence[str | Path],
    cwd: Path,
    *,
    env: dict[str, str] | None = None,
    timeout: float = 120,
) -> str:
    """Run ``command``, show all it said when it fails, and return its standard output."""
    done = run(command, cwd, env=env, timeout=timeout)
    shown = " ".join(map(str, command))
    assert done.returncode == 0, (
        f"exit code {done.returncode} from: {shown}\n"
        f"--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
    )
    return done.stdout
