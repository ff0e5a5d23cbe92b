"""A program that forgets to shut its queue down ends quietly and loses nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wopr.storage.duckdb.doctor import check

ASYNC = """
import asyncio
from wopr import TaskQueue
queue = TaskQueue(enabled=True, database="q.duckdb")
@queue.task
def double(number: int) -> int:
    return number * 2
async def main():
    await queue.start_workers()
    print(await (await double.enqueue(21)).result(timeout=60))
asyncio.run(main())
"""
SYNC = """
from wopr import TaskQueue
queue = TaskQueue(enabled=True, database="q.duckdb")
@queue.task
def double(number: int) -> int:
    return number * 2
sync = queue.sync()
sync(queue.start_workers)
print(sync(sync(double.enqueue, 21).result, timeout=60))
"""
TWICE = """
import asyncio
from wopr import QueueClosedError, TaskQueue
queue = TaskQueue(enabled=True, database="q.duckdb")
async def main():
    await queue.start_workers()
asyncio.run(main())
try:
    asyncio.run(main())
except QueueClosedError as error:
    print("has ended without" in str(error) and 42)
"""


@pytest.mark.parametrize("program", [ASYNC, SYNC, TWICE])
def test_the_end_of_a_program_without_shutdown_says_one_line(tmp_path: Path, program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (0, "42\n") == (done.returncode, done.stdout)
    assert 1 == len(done.stderr.splitlines()), done.stderr
    assert "was not shut down" in done.stderr
    assert [] == check(tmp_path / "q.duckdb").problems
