"""Celery worker processes of tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

from support.paths import ROOT

START_SECONDS = 60.0

T = TypeVar("T")


class CeleryWorker:
    """One worker with its pool."""

    def __init__(
        self, broker: str, folder: Path, *arguments: str, queues: str = "shop", mailbox: str = ""
    ) -> None:
        self.log = folder / f"celery-{time.monotonic_ns()}.log"
        paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
        env = {
            **os.environ,
            "PYTHONPATH": paths,
            "WOPR_CELERY__BROKER_URL": broker,
            "WOPR_CELERY__RESULT_BACKEND": "" if mailbox else broker,
            "WOPR_TEST_MAILBOX": mailbox,
        }
        quick = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        program = (sys.executable, "-m", "celery", "-A", "support.celery_program", "worker")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*program, "-Q", queues, "-l", "INFO", *quick, *arguments],
                stdout=log,
                stderr=log,
                env=env,
                cwd=folder,
                start_new_session=True,
            )

    def ready(self) -> None:
        """Wait until it takes messages."""
        until = time.monotonic() + START_SECONDS
        while " ready." not in self.log.read_text(errors="replace"):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it with all its processes, as the loss of its host would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def celery_worker(broker: str, folder: Path, *arguments: str) -> Iterator[CeleryWorker]:
    """Run a worker that takes messages."""
    worker = CeleryWorker(broker, folder, *arguments)
    try:
        worker.ready()
        yield worker
    finally:
        worker.kill()


async def seen(look: Callable[[], Awaitable[T]], good: Callable[[T], bool]) -> T:
    """Look every now and then at what other processes do, until it is good."""
    async with asyncio.timeout(START_SECONDS):
        while not good(found := await look()):
            await asyncio.sleep(0.01)
    return found


async def is_there(path: Path, *, there: bool = True) -> None:
    """Wait for another process to make a file, or take it away."""

    async def look() -> bool:
        return path.exists()

    await seen(look, lambda found: found is there)
