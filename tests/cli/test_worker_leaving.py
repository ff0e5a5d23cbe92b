"""``wopr worker`` and what its tasks leave behind: it waits for none of it for long."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.processes import is_gone
from support.queues import PATIENCE
from support.workers import read_until, worker
from wopr import TaskQueue

APPLICATION = """
import atexit, logging, multiprocessing, threading
from concurrent.futures import ProcessPoolExecutor
from wopr import TaskQueue

queue = TaskQueue()
log = logging.getLogger("shop")
forking = multiprocessing.get_context("fork")
pool = ProcessPoolExecutor(1, mp_context=forking)

def wait():
    threading.Event().wait(3600)

def child(**options):
    started = forking.Process(target=wait, name="shop-child", **options)
    started.start()
    log.info("left process %d", started.pid)
    return started

@queue.task(name="a_process")
def a_process():
    child()

@queue.task(name="a_daemon")
def a_daemon():
    child(daemon=True)
    child()

@queue.task(name="a_pool")
def a_pool():
    pool.submit(wait)
    log.info("left process %d", next(iter(pool._processes)))

@queue.task(name="a_thread")
def a_thread():
    threading.Thread(target=wait, name="shop-thread", daemon=False).start()
    log.info("left nothing else")

@queue.task(name="an_exit")
def an_exit():
    atexit.register(wait)
    log.info("left nothing else")

@queue.task(name="terminated")
def terminated():
    ended = child()
    ended.terminate()
    ended.join(10)
    log.info("left with %s", ended.exitcode)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "application.py").write_text(APPLICATION)
    return tmp_path


def enqueue(folder: Path, name: str) -> None:
    async def add() -> None:
        queue = TaskQueue(enabled=True, database=folder / "wopr_tasks.duckdb")
        queue.register_task(name)(lambda: None)
        async with queue:
            await queue.add_task(name)

    asyncio.run(add())


@contextlib.contextmanager
def killed_at_the_end() -> Iterator[list[int]]:
    """Give a list for the ids of processes that outlive their worker."""
    pids: list[int] = []
    try:
        yield pids
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def pids_in(log: str) -> list[int]:
    return [int(pid) for pid in re.findall(r"left process (\d+)", log)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a_process", r"Process shop-child \(pid \d+\) has not ended; leaving without it"),
        ("a_pool", r"Process ForkProcess-\d+ \(pid \d+\) has not ended; leaving without it"),
        ("a_thread", "Thread shop-thread has not ended; leaving without it"),
        ("an_exit", r"What runs at the exit of the program \(.*threading.py.*\) has not ended"),
    ],
)
def test_what_the_interpreter_would_wait_for_gets_the_grace_time_only(
    folder: Path, name: str, said: str
) -> None:
    enqueue(folder, name)
    with killed_at_the_end() as pids, worker(folder, "--grace", "0.1") as process:
        pids.extend(pids_in(read_until(process, f"task_name={name}")))
        process.send_signal(signal.SIGTERM)
        log = read_until(process, "has not ended")
        assert 0 == process.wait(PATIENCE)
    assert re.search(said, log)


def test_children_that_end_with_their_parent_do_so_too(folder: Path) -> None:
    enqueue(folder, "a_daemon")
    with killed_at_the_end() as pids, worker(folder, "--grace", "0.1") as process:
        daemon = pids_in(read_until(process, "left process"))
        pids.extend(daemon + pids_in(read_until(process, "left process")))
        process.send_signal(signal.SIGTERM)
        read_until(process, "has not ended")
        process.wait(PATIENCE)
        asyncio.run(until_gone(daemon[0]))


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while not is_gone(pid):
            await asyncio.sleep(0)


def test_a_forked_child_that_is_terminated_ends_and_the_worker_goes_on(folder: Path) -> None:
    enqueue(folder, "terminated")
    with killed_at_the_end() as pids, worker(folder, "--grace", "0.1") as process:
        log = read_until(process, "left with")
        pids.extend(pids_in(log))
        assert f"left with {-signal.SIGTERM}" in log
        enqueue(folder, "terminated")
        log += read_until(process, "left with")
        assert "Draining" not in log


def test_a_forked_child_does_not_keep_the_port_of_its_worker(folder: Path) -> None:
    enqueue(folder, "a_process")
    options = ("--grace", "0.1", "--http", "0")
    with killed_at_the_end() as pids, worker(folder, *options) as process:
        log = read_until(process, "Started")
        port = int(log.partition("http://127.0.0.1:")[2].partition(".")[0])
        pids.extend(pids_in(log + read_until(process, "left process")))
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        with socket.create_server(("127.0.0.1", port)):
            os.kill(pids[0], 0)  # the child lives
