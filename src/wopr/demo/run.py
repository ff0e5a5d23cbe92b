"""The demo's parent process: start the worker, kill it half-way, start it again, prove."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wopr.demo.proof import Outcome, prove
from wopr.demo.rate import TASKS, rate_of_nothing
from wopr.domain.clock import SystemClock
from wopr.domain.errors import InvalidCallError

SAMPLE = 800
"""So many files of the standard library are enough to see it work."""
LONGEST_SECONDS = 300.0
"""A worker that takes longer than this has hung, and is killed for good."""

Counts = dict[str, dict[str, int]]

_ENDED = ("success", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work is: tasks by category and status, and the number of files."""

    counts: Counts
    files: int

    def done(self, category: str) -> int:
        """Return how many tasks of the category have ended."""
        return sum(self.counts.get(category, {}).get(status, 0) for status in _ENDED)

    def total(self, category: str) -> int:
        """Return how many tasks the category has, or will have: one a file, and the report."""
        return max(self.files, sum(self.counts.get(category, {}).values()))

    @property
    def fraction(self) -> float:
        """How much of all work is done, from 0 to 1: each file is scanned and parsed."""
        return (self.done("scan") + self.done("parse")) / max(1, 2 * self.files)


@dataclass(slots=True)
class Demo:
    """One run of the demo.

    Args:
        source: the folder whose Python files are processed.
        database: the queue's file; it must not exist yet.
        limit: process at most so many files; ``None`` for all.
        on_progress: called several times a second.
        on_event: called with a sentence when something happens.
    """

    source: Path
    database: Path
    limit: int | None = None
    on_progress: Callable[[Progress], None] = lambda progress: None
    on_event: Callable[[str], None] = lambda text: None
    files: list[str] = field(default_factory=list)
    killed: bool = False
    seconds: float = 0.0

    def run(self) -> Outcome:
        """Do all of it and return what came out.

        Raises:
            InvalidCallError: there is no Python file in the folder.
        """
        self.files = python_files(self.source, self.limit)
        if not self.files:
            raise InvalidCallError(
                f"There is no Python file in {self.source} that the demo could process: it looks "
                "for *.py there and below, and leaves installed packages out. Name another folder "
                "with --source, or none to take Python's own library."
            )
        self.on_event(f"{len(self.files)} Python files of {self.source}, queue in {self.database}")
        self._first_worker()
        if self.killed:
            self.on_event("Starting another worker on the same file.")
            self._work([], kill_at=None)
        self.on_event("The worker is done. Asking the database what happened.")
        outcome = prove(self.database, self.files, killed=self.killed, seconds=self.seconds)
        if outcome.proven:
            self.on_event(
                f"Now {TASKS:,} tasks that do nothing: what the queue itself can do here."
            )
            outcome.queue_tasks_per_second = rate_of_nothing(self.database.parent)
        return outcome

    def _first_worker(self) -> None:
        self._work(self.files, kill_at=0.5)

    def _work(self, paths: list[str], kill_at: float | None) -> None:
        """Run a worker process to its end, or until it is killed."""
        clock = SystemClock()
        began = clock.monotonic()
        with worker_process(self.database, paths) as process:
            for event in events(process):
                if event["event"] == "log":
                    self.on_event(f"The worker says: {event['text']}")
                if event["event"] != "progress":
                    continue
                progress = Progress(event["counts"], len(self.files))
                self.on_progress(progress)
                if kill_at is not None and not self.killed and kill_at <= progress.fraction < 1:
                    process.kill()
                    self.killed = True
                    self.on_event(
                        f"Killed the worker (pid {process.pid}) with SIGKILL at "
                        f"{progress.fraction:.0%} of the work."
                    )
            code = process.wait()
        self.seconds += clock.monotonic() - began
        if code and not (self.killed and kill_at is not None):
            self.on_event(f"The worker ended with exit code {code}.")


@contextlib.contextmanager
def worker_process(database: Path, paths: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Start a worker that is to enqueue ``paths``; it never outlives this block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "wopr.demo.worker"],
        env={**os.environ, "WOPR_TASKS_DATABASE": str(database)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
    )
    watchdog = threading.Timer(LONGEST_SECONDS, process.kill)
    watchdog.daemon = True
    watchdog.start()
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):  # its exit code says why
            process.stdin.write("\n".join(paths))
            process.stdin.close()
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


def events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """Give what the worker tells, until it ends; the kill may cut its last line."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith("\n"):
            yield json.loads(line)


def python_files(source: Path, limit: int | None) -> list[str]:
    """Return the Python files of a folder, without installed packages; a sample, if limited."""
    skipped = {"site-packages", "dist-packages", "__pycache__"}
    found = sorted(
        str(path)
        for path in source.rglob("*.py")
        if not skipped.intersection(path.relative_to(source).parts) and path.is_file()
    )
    found = [path for path in found if path.isprintable()]  # one path is one line of stdin
    if limit is None or limit >= len(found):
        return found
    return [found[number * len(found) // limit] for number in range(limit)]


def standard_library() -> Path:
    """Return the folder of this Python's standard library."""
    return Path(sysconfig.get_path("stdlib"))


@contextlib.contextmanager
def temporary_database() -> Iterator[Path]:
    """Give a place for a database file that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="wopr-demo-") as folder:
        yield Path(folder) / "demo.duckdb"
