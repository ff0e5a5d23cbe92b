"""SIGTERM in the middle of everything: 1,000 tasks run, 10,000 wait, more are coming."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest

from support.programs import BIN, run
from support.queues import PATIENCE
from support.workers import read_until, worker
from wopr import TaskQueue

RUNNING, WAITING, GRACE = 1_000, 10_000, 1.0
REPEATS = int(os.environ.get("WOPR_TEST_REPEATS", "3"))

APPLICATION = f"""
import asyncio, logging
from wopr import TaskQueue

queue = TaskQueue()
running = 0

@queue.task
async def nap(number: int) -> int:
    global running
    running += 1
    if running == {RUNNING}:
        logging.getLogger("wopr.worker").info("all run")
    await asyncio.sleep(0.5 if number % 2 else 3600)
    return number

@queue.on("task.succeeded")
async def more(event):
    await nap.enqueue(1)
"""


def enqueue(folder: Path) -> list[str]:
    """Put all tasks into the file."""

    async def add() -> list[str]:
        async with TaskQueue(enabled=True, database=folder / "wopr_tasks.duckdb") as queue:

            @queue.task
            async def nap(number: int) -> int: ...

            numbers = [(number,) for number in range(RUNNING + WAITING)]
            return [handle.id for handle in await nap.enqueue_many(numbers)]

    return asyncio.run(add())


def statuses(folder: Path) -> list[dict[str, object]]:
    """Return what became of each task."""
    query = "select id::varchar as id, status, attempt, retry_count, crashes from tasks"
    done = run([BIN / "wopr", "sql", query, "--json"], folder)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, object]] = json.loads(done.stdout)["rows"]
    return rows


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.parametrize("repeat", range(REPEATS))
def test_it_ends_in_time_and_nothing_is_lost(tmp_path: Path, repeat: int) -> None:
    (tmp_path / "application.py").write_text(APPLICATION)
    known = enqueue(tmp_path)
    words = ("-c", f"default:{RUNNING}", "--grace", f"{GRACE:g}", "--json")
    with worker(tmp_path, *words) as process:
        read_until(process, "all run")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
        seconds = time.monotonic() - began
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["running_at_signal"] >= RUNNING // 2
    assert summary["finished"] + summary["put_back"] == summary["running_at_signal"]
    doctor = run([BIN / "wopr", "doctor", "--json"], tmp_path)
    assert json.loads(doctor.stdout)["clean"], doctor.stdout
    found = {str(row["id"]): row for row in statuses(tmp_path)}
    assert set(known) <= found.keys()
    assert {row["status"] for row in found.values()} == {"success", "pending"}
    assert not any(row["retry_count"] or row["crashes"] for row in found.values())
    print(f"ended after {seconds:.2f} s with a grace time of {GRACE:g} s")
