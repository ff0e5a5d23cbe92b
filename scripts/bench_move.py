"""Measure a move from a file to PostgreSQL and back, under a program that goes on enqueueing.

scripts/bench --move [--tasks WAITING] [--done DONE] [--there-only]

The server is one of its own that syncs its writes; the file is in the folder for temporary files.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psycopg
from bench_large import fill
from bench_postgres import server

from wopr import TaskQueue

EACH_SECONDS = 0.02
"""So often the program enqueues a task."""
ENV = {"WOPR_TASKS_CALL_SECONDS": "300", "WOPR_TASKS_ENABLED": "1"}


async def program(home: str) -> None:
    """Enqueue until standard input ends, then print how many, and the longest time of one."""
    queue = TaskQueue(enabled=True, database=home)

    @queue.task(name="noop")
    async def noop(number: int, text: str) -> int:
        return number

    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    longest, count = 0.0, 0
    async with queue:
        while not ended.done():
            began = time.perf_counter()
            await noop.enqueue(count, "x")
            longest, count = max(longest, time.perf_counter() - began), count + 1
            if count == 1:
                print("ready", flush=True)
            await asyncio.sleep(EACH_SECONDS)
    print(json.dumps({"enqueued": count, "longest": longest}))


def moved(name: str, source: str, target: str) -> None:
    """Move a queue while a program uses it; print what that took."""
    this = [sys.executable, __file__, "--program", source]
    user = subprocess.Popen(
        this, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | ENV
    )
    assert user.stdout is not None
    user.stdout.readline()
    command = [sys.executable, "-m", "wopr", "move", "--from", source, "--to", target, "--json"]
    if os.environ.get("PROF"):
        command[1:3] = ["/tmp/w/fleet/prof.py"]
    began = time.monotonic()
    mover = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | ENV)
    assert mover.stdout is not None
    answer = mover.stdout.read()
    _, status, usage = os.wait4(mover.pid, 0)
    seconds = time.monotonic() - began
    said, _ = user.communicate()
    if status:
        raise SystemExit(f"{name}: wopr move failed: {answer.decode()}")
    found, used = json.loads(answer), json.loads(said)
    for what, value in {
        "tasks": found["tasks"],
        "transitions": found["transitions"],
        "all of it (s)": seconds,
        "its processor time (s)": usage.ru_utime + usage.ru_stime,
        "its peak RSS (MB)": usage.ru_maxrss / 1024,
        "pause, as it says (s)": found["paused_seconds"],
        "longest call meanwhile (s)": used["longest"],
        "calls meanwhile": used["enqueued"],
    }.items():
        print(f"{name}: {what:32} {value:>14,.1f}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000, help="tasks that wait")
    parser.add_argument("--done", type=int, default=1_000_000, help="tasks that have ended")
    parser.add_argument("--there-only", action="store_true", help="not back to a file")
    parser.add_argument("--program", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.program:
        asyncio.run(program(options.program))
        return
    with tempfile.TemporaryDirectory(prefix="wopr-bench-move-") as name, server() as folder:
        path = Path(name) / "queue.duckdb"
        asyncio.run(_made(path))
        fill(path, options.done, options.tasks)
        print(f"the file (MB): {path.stat().st_size / 1e6:,.0f}", flush=True)
        with closing(psycopg.connect(host=folder, user="wopr", dbname="postgres")) as one:
            one.autocommit = True
            one.execute("create database moved")
        address = f"postgresql://wopr@/moved?host={folder}"
        moved("to PostgreSQL", str(path), address)
        if not options.there_only:
            moved("to a file", address, str(Path(name) / "back.duckdb"))


async def _made(path: Path) -> None:
    async with TaskQueue(enabled=True, database=path) as queue:
        await queue.sql("select 1")


if __name__ == "__main__":
    main()
