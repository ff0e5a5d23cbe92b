"""A process that forks a child for each job: to be tortured, or to judge what is left.

It has imported everything that a child needs and opened nothing, so a child costs milliseconds.
Its library is the shim's; only children that are to be tortured turn that on. Reads one JSON
object per line, answers with the child's exit code.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faults.torture import judge, older, scenario
from support.paths import ROOT
from support.warm import import_what_children_import

LIFE_SECONDS = 60
"""A child that lives longer hangs."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong at the ``number``-th operation of a label."""

    label: str = ""
    number: int = 0
    mode: str = ""
    run: int = 1
    """So many operations fail, one after the other."""

    def __str__(self) -> str:
        more = f"x{self.run}" if self.run > 1 else ""
        return f"{self.label.replace(' ', ':')}:{self.number}:{self.mode}{more}"

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Return what ``str()`` made of a fault."""
        kind, what, number, mode = text.split(":")
        name, _, run = mode.partition("x")
        return cls(f"{kind} {what}", int(number), name, int(run or 1))


@dataclass(frozen=True)
class Job:
    """What a child is told."""

    folder: Path
    """Holds the database, ``tasks.duckdb``."""
    said: Path
    """What children print is appended here."""
    seed: int
    kind: str
    """Of a scenario; ``older``: writes a file; ``judge``; ``glance``: at many images."""
    report: Path = Path(os.devnull)
    """The shim says here what it did."""
    trace: str = ""
    fault: Fault = Fault()


class Worker:
    """One such process, as others use it; for one thread at a time."""

    def __init__(self, shim: Path) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WOPR_")}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
        environment["LD_PRELOAD"] = str(shim)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.torture.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=shim.parent,  # there is no configuration to be read again by each child
        )

    def run(self, job: Job) -> int:
        """Let a child do the job; return its exit code, or the negative signal that ended it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(job), default=str) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the worker died"
        return int(answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def main() -> None:
    """Serve until the standard input ends."""
    logging.disable(logging.CRITICAL)
    scenario.lower_thresholds()
    scenario.trust_catalogues()
    import_what_children_import(_scout)
    assert len(os.listdir("/proc/self/task")) == 1, "a fork of threads is no fresh process"
    gc.freeze()
    for line in sys.stdin:
        told = json.loads(line)
        for name in ("folder", "said", "report"):
            told[name] = Path(told[name])
        told["fault"] = Fault(**told["fault"])
        pid = os.fork()
        if pid == 0:
            _be_child(Job(**told))
        stuck = threading.Timer(LIFE_SECONDS, os.kill, (pid, signal.SIGABRT))
        stuck.start()
        _, status = os.waitpid(pid, 0)
        stuck.cancel()
        stuck.join()
        print(os.waitstatus_to_exitcode(status), flush=True)
    os._exit(0)  # nothing of what is frozen can be cleared away


def _scout(folder: Path) -> None:
    path = folder / "tasks.duckdb"
    older.write_older_file(path)
    scenario.live(path, 1, "work")
    said = (folder / "said").read_text().splitlines()
    assert [] == judge.judge(path, said, random.Random(1))


def _be_child(job: Job) -> None:
    code = 1
    faulthandler.enable(job.report.open("a"))  # says where it hangs
    try:
        code = _do(job)
    except BaseException:
        with job.report.open("a") as report:
            traceback.print_exc(file=report)
    finally:
        os._exit(code)


def _do(job: Job) -> int:
    path = job.folder / "tasks.duckdb"
    judges = job.kind in {"judge", "glance"}
    said = os.devnull if judges else job.said
    os.dup2(os.open(said, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 1)
    if judges:
        lines = job.said.read_text().splitlines()
        if job.kind == "judge":
            problems = judge.judge(path, lines, random.Random(job.seed))
        else:
            problems = judge.glance(job.folder, lines)
        with job.report.open("a") as report:
            report.write("\n".join(problems))
        return 1 if problems else 0
    if job.kind == "older":
        older.write_older_file(path)
        return 0
    _arm(job)
    scenario.live(path, job.seed, job.kind)
    return 0


def _arm(job: Job) -> None:
    shim: Any = ctypes.CDLL(None)
    fault = job.fault
    shim.torture(
        *(os.fsencode(job.folder), job.trace.encode(), 1, os.fsencode(job.report)),
        *(fault.label.encode(), ctypes.c_long(fault.number), fault.mode.encode()),
        *(ctypes.c_long(fault.run), ctypes.c_uint64(job.seed)),
    )


if __name__ == "__main__":
    main()
