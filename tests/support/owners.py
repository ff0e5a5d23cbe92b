"""A process that owns a file, and queues of other processes that are its clients."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.paths import ROOT
from support.queues import PATIENCE
from wopr import TaskQueue

OWNER = ROOT / "tests" / "remote" / "owner.py"


def start_owner(database: Path, **environment: str) -> subprocess.Popen[str]:
    """Start ``tests/remote/owner.py`` on a file; return once it works."""
    owner = subprocess.Popen(
        [sys.executable, str(OWNER), str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | environment,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    return owner


def end(owner: subprocess.Popen[str]) -> None:
    """Let an owner end in order."""
    assert owner.stdin is not None
    assert owner.stdout is not None
    owner.stdin.close()
    owner.wait(timeout=PATIENCE)
    owner.stdout.close()


@contextmanager
def stopped(owner: subprocess.Popen[str]) -> Iterator[None]:
    """Have an owner stand still, as in a debugger or on a machine that swaps."""
    os.kill(owner.pid, signal.SIGSTOP)
    os.waitpid(owner.pid, os.WUNTRACED)
    try:
        yield
    finally:
        os.kill(owner.pid, signal.SIGCONT)


def client(database: Path, **options: Any) -> TaskQueue:
    """Return a queue with the tasks of the owner, none of which runs here."""
    queue = TaskQueue(enabled=True, database=database, **options)

    @queue.task
    async def double(number: int) -> int:
        raise AssertionError("runs in the owner, not here")

    @queue.task
    async def hold(number: int) -> int:
        raise AssertionError("runs in the owner, not here")

    @queue.task
    async def fail(text: str) -> None:
        raise AssertionError("runs in the owner, not here")

    return queue
