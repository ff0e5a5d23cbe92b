"""Ctrl-C in a program that does nothing but run the scheduler of the registry."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wopr
from support.programs import clean_environment
from support.queues import PATIENCE
from wopr import TaskQueue, TaskStatus

SOURCE = str(Path(wopr.__file__).parents[1])

PROGRAM = """
import sys
from wopr.scheduler import Task, registry, start_scheduler

class Service:
    async def start(self):
        pass
    async def stop(self):
        print("stopping", flush=True)

def slow():
    print("start", flush=True)
    sys.stdin.readline()
    print("end", flush=True)

registry.queue.add_service(Service())
registry.register(Task(id="slow", every={"minutes": 5}, func=slow))
start_scheduler(blocking=True)
print("after", flush=True)
"""

STARTING = """
import asyncio, sys
from wopr.scheduler import registry, start_scheduler

class Service:
    async def start(self):
        print("starting", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
    async def stop(self):
        pass

registry.queue.add_service(Service())
start_scheduler(blocking=True)
print("after", flush=True)
"""


def run(program: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        env=clean_environment() | {"PYTHONPATH": SOURCE},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def program(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run it until its task has begun and Ctrl-C was pressed once."""
    with run(PROGRAM, tmp_path) as running:
        try:
            assert running.stdout is not None
            assert "start\n" == running.stdout.readline()
            running.send_signal(signal.SIGINT)
            assert "stopping\n" == running.stdout.readline()
            yield running
        finally:
            running.kill()


async def status_of_the_task(folder: Path) -> TaskStatus:
    async with TaskQueue(enabled=True, database=folder / "wopr_tasks.duckdb") as queue:
        [info] = await queue.get_tasks()
        return info.status


async def test_the_first_lets_the_running_task_end(
    program: subprocess.Popen[str], tmp_path: Path
) -> None:
    said, complaints = program.communicate("go on\n", timeout=PATIENCE)
    assert (0, "end\nafter\n") == (program.returncode, said), complaints
    assert "Press it again" in complaints
    assert "Traceback" not in complaints
    assert "was not shut down" not in complaints
    assert TaskStatus.SUCCESS is await status_of_the_task(tmp_path)


async def test_the_second_ends_the_program_and_the_task_waits_again(
    program: subprocess.Popen[str], tmp_path: Path
) -> None:
    program.send_signal(signal.SIGINT)
    assert -signal.SIGINT == program.wait(timeout=PATIENCE)
    assert program.stderr is not None
    assert "was not shut down" not in program.stderr.read()
    assert TaskStatus.PENDING is await status_of_the_task(tmp_path)


def test_ctrl_c_while_it_still_starts_ends_it_in_order(tmp_path: Path) -> None:
    with run(STARTING, tmp_path) as running:
        try:
            assert running.stdout is not None
            assert "starting\n" == running.stdout.readline()
            running.send_signal(signal.SIGINT)
            said, complaints = running.communicate("go on\n", timeout=PATIENCE)
        finally:
            running.kill()
    assert (0, "after\n") == (running.returncode, said), complaints
    assert "Press it again" in complaints
    assert "Traceback" not in complaints
