"""Children to kill, and the books about what they have said."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from faults.crash.scenario import BEAT_MILLISECONDS, Orders, outcome
from support.audit import Audit, audit, clean, doctor
from support.paths import ROOT
from wopr.domain.status import TERMINAL, TaskStatus

PATIENCE = 120.0
"""Seconds after which a child that should have died counts as stuck."""

MOST_SAID = 32
"""A child is killed at random after fewer words of each kind than this."""

PROMISED = {"got": TaskStatus.SUCCESS, "cancelled": TaskStatus.CANCELLED}
"""What a child has said of a task: how it has to end."""


class Zygote:
    """One process that forks children; see ``zygote.py``."""

    def __init__(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WOPR_")}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.crash.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def _line(self) -> list[str]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().split()
        assert line, "the zygote died"
        return line

    def start(self, orders: Orders) -> int:
        """Fork a child; return its pid."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(orders), default=str) + "\n")
        self._process.stdin.flush()
        word, pid = self._line()
        assert word == "started"
        return int(pid)

    def end(self, pid: int) -> int:
        """Wait for the child's end and return its signal (negative) or exit code."""
        stuck = threading.Timer(PATIENCE, lambda: os.kill(pid, signal.SIGABRT))
        stuck.start()
        try:
            word, status = self._line()
        finally:
            stuck.cancel()
        assert word == "ended"
        return os.waitstatus_to_exitcode(int(status))

    def close(self) -> None:
        """End the zygote, which has no child now."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()


@contextlib.contextmanager
def zygote() -> Iterator[Zygote]:
    """Give a zygote and end it."""
    made = Zygote()
    try:
        yield made
    finally:
        made.close()


@dataclass
class Totals:
    """What a series did, to be printed: a kill that hits nothing proves nothing."""

    kills: int = 0
    acknowledged: int = 0
    runs: int = 0
    results: int = 0
    occurrences: int = 0


class Series:
    """One database file and the children that were killed over it."""

    def __init__(self, folder: Path, seed: int, nursery: Zygote) -> None:
        self.database = folder / "tasks.duckdb"
        self.journal = folder / "journal"
        self.seed = seed
        self.rng = random.Random(seed)
        self.totals = Totals()
        self._zygote = nursery
        self._children = 0

    def _orders(self, **more: Any) -> Orders:
        self._children += 1
        return Orders(self.database, self.journal, self.seed * 1000 + self._children, **more)

    def kill_at_random(self) -> None:
        """Start a child and kill it in the midst of its work, seldom while it opens the file.

        When that is, what it has done decides, and no time: on a slow machine, too, there is
        something to lose.
        """
        said = self.journal.stat().st_size if self.journal.exists() else 0
        pid = self._zygote.start(self._orders())
        longest = 0.2
        if self.rng.random() < 0.85:
            self._wait_for_words(said, self.rng.randrange(MOST_SAID))
            longest = 0.01
        time.sleep(self.rng.uniform(0, longest) if self.rng.random() < 0.8 else 0)
        os.kill(pid, signal.SIGKILL)
        assert -signal.SIGKILL == self._zygote.end(pid), "the child ended before it was killed"
        self.totals.kills += 1
        self.check()

    def _wait_for_words(self, start: int, least: int) -> None:
        """Wait until the child opened the file, and enqueued and ran so many tasks."""
        wanted = Counter(open=1, ack=least, run=least, got=least // 24)
        deadline = time.monotonic() + PATIENCE
        while not self._words_since(start) >= wanted:
            assert time.monotonic() < deadline, f"the child never said {dict(wanted)}"
            time.sleep(0.001)

    def _words_since(self, start: int) -> Counter[str]:
        if not self.journal.exists():
            return Counter()
        with self.journal.open() as file:
            file.seek(start)
            return Counter(line.split(maxsplit=1)[0] for line in file if line.endswith("\n"))

    def kill_at(self, point: str, passes: int) -> None:
        """Start a child that dies at the ``passes``-th pass through a named point."""
        pid = self._zygote.start(self._orders(point=point, passes=passes))
        code = self._zygote.end(pid)
        assert -signal.SIGKILL == code, (
            f"the child was to die at {point}:{passes} but ended with {code}: "
            "the scenario does not reach that point"
        )
        self.totals.kills += 1
        self.check()

    def finish(self) -> None:
        """Let a last child work everything off, and check that nothing is missing."""
        pid = self._zygote.start(self._orders(drain=True))
        code = self._zygote.end(pid)
        assert 0 == code, f"the last child could not finish the work: {code}"
        found = clean(self.database, whole=True)
        doctor(self.database)
        said = self.said()
        self._check_said(found, said)
        assert not found.problems, "\n".join(found.problems[:20])
        for words in said:
            if words[0] == "ack":
                _check_end(found.folded[words[1]], int(words[3]))
        self._check_schedule(found)
        kinds = Counter(words[0] for words in said)
        self.totals.acknowledged = kinds["ack"]
        self.totals.runs = kinds["run"]
        self.totals.results = kinds["got"]

    def _check_schedule(self, found: Audit) -> None:
        """Check that the plan was kept: each occurrence enqueued, and once."""
        planned = [one.scheduled_for for one in found.folded.values() if one.schedule is not None]
        assert len(planned) == len(set(planned)), "an occurrence was enqueued twice"
        ordered = sorted(planned)
        steps = {after - before for before, after in itertools.pairwise(ordered)}
        assert steps <= {timedelta(milliseconds=BEAT_MILLISECONDS)}, (
            f"occurrences are missing: {steps}"
        )
        self.totals.occurrences = len(planned)

    def said(self) -> list[list[str]]:
        """Return what the children have said so far."""
        return [line.split() for line in self.journal.read_text().splitlines()]

    def check(self) -> None:
        """Check the file as the killed child left it."""
        if not self.database.exists():
            assert not self.journal.exists() or not self.said(), "an open queue has a file"
            return
        found = audit(self.database)
        if self.journal.exists():
            self._check_said(found, self.said())
        assert not found.problems, f"seed {self.seed}:\n" + "\n".join(found.problems[:20])

    def _check_said(self, found: Audit, said: list[list[str]]) -> None:
        runs: Counter[tuple[str, str]] = Counter()
        for kind, task_id, *more in said:
            if kind == "open":
                continue
            record = found.folded.get(task_id)
            if record is None:
                found.say(f"task {task_id} is lost; it was told: {kind}")
                continue
            if kind == "run":
                runs[task_id, more[0]] += 1
                if int(more[0]) > record.attempt:
                    found.say(f"task {task_id} ran as {more[0]}, recorded are {record.attempt}")
            expected = PROMISED.get(kind, record.status)
            if expected is not record.status:
                found.say(f"task {task_id} was told {kind}, but it is {record.status}")
        for (task_id, attempt), count in runs.items():
            if count > 1:
                found.say(f"attempt {attempt} of task {task_id} ran {count} times")
        _check_terminal(found)


def _check_terminal(found: Audit) -> None:
    for record in found.folded.values():
        if record.status is TaskStatus.SUCCESS and record.result is None:
            found.say(f"task {record.id} succeeded without a result")
        if record.status is TaskStatus.FAILED and not record.error:
            found.say(f"task {record.id} failed without an error")


def _check_end(record: Any, number: int) -> None:
    assert record.status in TERMINAL, f"{record.id} was left {record.status}"
    if record.status is TaskStatus.SUCCESS:
        assert str(number * 2) == record.result, f"{record.id}: a wrong result"
        assert "success" == outcome(number, record.attempt)
    elif record.status is TaskStatus.FAILED:
        assert number % 7 == 3, f"{record.id} failed, but a retry was left: {record.error}"
