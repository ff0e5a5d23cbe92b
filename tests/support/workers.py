"""``wopr worker`` as a real process whose log comes as lines."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.programs import BIN, clean_environment


def environment() -> dict[str, str]:
    """Return an environment in which queues are switched on."""
    return {**clean_environment(), "WOPR_TASKS_ENABLED": "1"}


@contextmanager
def worker(
    folder: Path,
    *options: str,
    target: str = "application:queue",
    env: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Run a worker in a folder; whatever happens, it is gone afterwards."""
    process = subprocess.Popen(
        [str(BIN / "wopr"), "worker", target, *options],
        cwd=folder,
        env=environment() if env is None else env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Return the log up to the line that holds ``text``."""
    assert process.stderr is not None
    log = ""
    for line in process.stderr:
        log += line
        if text in line:
            return log
    raise AssertionError(f"{text!r} never came; the worker logged:\n{log}")
