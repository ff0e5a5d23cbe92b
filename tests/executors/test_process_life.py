"""Worker processes are started, reused, replaced and killed; their death is one task's failure."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from support import process_tasks as tasks
from support.calls import Reports, call
from support.paths import ROOT
from support.processes import executors_of, is_gone
from support.programs import clean_environment
from support.queues import PATIENCE
from wopr import ProcessDiedError, TaskQueue
from wopr.executors.choice import Executors


@pytest.fixture
async def one() -> AsyncIterator[Executors]:
    async with executors_of(processes=1) as made:
        yield made


async def run(executors: Executors, function: Callable[..., Any], *args: Any, **more: Any) -> Any:
    wanted = call(function, *args, **more)
    async with asyncio.timeout(PATIENCE):
        return await executors.of("process", wanted.is_async).run(wanted)


def begin(executors: Executors, function: Callable[..., Any], *args: Any, **more: Any) -> Any:
    """Run in the background, as an attempt does."""
    return asyncio.create_task(run(executors, function, *args, **more))


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while not is_gone(pid):
            await asyncio.sleep(0)


# -- death ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "args", "said"),
    [
        (tasks.segfault, (), "SIGSEGV ended it; native code crashed"),
        (tasks.exit_at_once, (3,), "it exited with code 3"),
        (tasks.exit_at_once, (0,), "it exited with code 0"),
    ],
    ids=["segfault", "exit 3", "exit 0"],
)
async def test_a_process_that_dies_fails_its_own_task_only(
    function: Callable[..., Any], args: tuple[Any, ...], said: str
) -> None:
    async with executors_of(processes=2) as executors:
        reports = Reports()
        other = begin(executors, tasks.begin_and_wait, report=reports)
        neighbour = int(await reports.first())
        with pytest.raises(ProcessDiedError, match=said) as caught:
            await run(executors, function, *args)
        assert "while it ran attempt 2 of task 'work'" in str(caught.value)
        assert not other.done()
        assert neighbour != await run(executors, tasks.pid)
        other.cancel()
        await asyncio.wait({other})


async def test_a_process_that_is_killed_from_outside_is_replaced(one: Executors) -> None:
    reports = Reports()
    task = begin(one, tasks.begin_and_wait, report=reports)
    pid = int(await reports.first())
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ProcessDiedError, match=f"Worker process {pid} died.*SIGKILL ended it"):
        await task
    assert pid != await run(one, tasks.pid)


async def test_a_process_that_dies_while_it_has_nothing_to_do_harms_no_task(
    one: Executors,
) -> None:
    pid = await run(one, tasks.pid)
    os.kill(pid, signal.SIGKILL)
    await until_gone(pid)
    assert pid != await run(one, tasks.pid)


async def test_the_death_is_noticed_although_a_forked_child_lives(one: Executors) -> None:
    reports = Reports()
    with pytest.raises(ProcessDiedError, match="SIGSEGV"):
        await run(one, tasks.fork_and_crash, report=reports)
    await until_gone(int(await reports.first()))


async def test_the_death_is_noticed_although_a_program_of_the_task_lives(one: Executors) -> None:
    reports = Reports()
    with pytest.raises(ProcessDiedError, match="SIGSEGV"):
        await run(one, tasks.leave_a_program_and_crash, report=reports)
    os.kill(int(await reports.first()), signal.SIGKILL)  # it left the group


@pytest.fixture
def no_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.spawn.get_executable", lambda: b"/bin/false")


@pytest.mark.usefixtures("no_python")
async def test_a_process_that_does_not_come_up_says_so(one: Executors) -> None:
    with pytest.raises(ProcessDiedError, match=r"ended while it was starting .*code 1.*__main__"):
        await run(one, tasks.pid)


async def test_a_process_that_can_not_be_started_says_so_and_the_next_may(
    one: Executors, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr("multiprocessing.util.spawnv_passfds", refuse)
        with pytest.raises(ProcessDiedError, match=r"can't be started: .*temporarily unavailable"):
            await run(one, tasks.pid)
    assert await run(one, tasks.pid)


# -- cancelling ----------------------------------------------------------------------


@pytest.mark.parametrize("function", [tasks.begin_and_wait, tasks.begin_and_wait_async])
async def test_cancelling_kills_the_process_and_the_next_task_runs(
    one: Executors, function: Callable[..., Any]
) -> None:
    reports = Reports()
    task = begin(one, function, report=reports)
    pid = int(await reports.first())
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    await until_gone(pid)
    assert pid != await run(one, tasks.pid)


async def test_cancelling_kills_what_the_task_has_started(one: Executors) -> None:
    reports = Reports()
    task = begin(one, tasks.begin_a_program_and_wait, report=reports)
    program = int(await reports.first())
    assert not is_gone(program)
    task.cancel()
    await asyncio.wait({task})
    await until_gone(program)


async def test_a_process_that_floods_the_pipe_can_be_killed(
    one: Executors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("app.flood"), "disabled", True)  # here, not there
    reports = Reports()
    task = begin(one, tasks.flood_for_ever, report=reports)
    await reports.first()
    task.cancel()
    await asyncio.wait({task})
    assert await run(one, tasks.pid)


async def test_a_call_that_is_cancelled_while_its_process_starts_leaves_none(
    one: Executors,
) -> None:
    task = begin(one, tasks.begin_and_wait)
    async with asyncio.timeout(PATIENCE):
        while not multiprocessing.active_children():
            await asyncio.sleep(0)
    [process] = multiprocessing.active_children()
    task.cancel()
    await asyncio.wait({task})
    assert process.pid is not None
    await until_gone(process.pid)


async def test_closing_kills_what_runs_and_what_waits_for_work() -> None:
    async with executors_of(processes=2) as executors:
        idle = await run(executors, tasks.pid)
        reports = Reports()
        task = begin(executors, tasks.begin_and_wait, report=reports)
        busy = int(await reports.first())
        spare = await run(executors, tasks.pid)
        await executors.close()
        assert [True, True, True] == [is_gone(pid) for pid in (idle, busy, spare)]
        with pytest.raises(ProcessDiedError, match="SIGKILL"):
            await task


# -- turns ---------------------------------------------------------------------------


async def test_calls_wait_for_a_process_in_their_order_and_one_that_gives_up_holds_up_nobody(
    one: Executors,
) -> None:
    reports, order = Reports(), []
    first = begin(one, tasks.begin_and_wait, report=reports)
    await reports.first()
    waiting = [begin(one, tasks.double, number) for number in range(4)]
    for number, task in enumerate(waiting):
        task.add_done_callback(lambda _, number=number: order.append(number))
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.wait({waiting[1]})
    first.cancel()
    await asyncio.wait({first, *waiting})
    assert [1, 0, 2, 3] == order
    assert [0, 4, 6] == [waiting[number].result() for number in (0, 2, 3)]


async def test_there_are_never_more_processes_than_allowed() -> None:
    async with executors_of(processes=2) as executors:
        pids = await asyncio.gather(*(run(executors, tasks.pid) for _ in range(10)))
        assert 1 <= len(set(pids)) <= 2
        assert len(multiprocessing.active_children()) <= 2


# -- replacing -----------------------------------------------------------------------


async def test_a_process_is_replaced_after_so_many_tasks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with executors_of(processes=1, max_tasks=3) as executors:
        with caplog.at_level(logging.INFO, "wopr.worker"):
            pids = [await run(executors, tasks.pid) for _ in range(7)]
        assert [3, 3, 1] == [pids.count(pid) for pid in dict.fromkeys(pids)]
        assert f"Worker process {pids[0]} is replaced: it has run 3 tasks." in caplog.messages
        await until_gone(pids[0])


async def test_a_task_that_fails_counts_as_well() -> None:
    async with executors_of(processes=1, max_tasks=2) as executors:
        first = await run(executors, tasks.pid)
        with pytest.raises(tasks.LoudError):
            await run(executors, tasks.fail, 1)
        assert first != await run(executors, tasks.pid)


async def test_a_process_is_replaced_after_a_task_that_leaves_it_too_big() -> None:
    async with executors_of(processes=1, memory_limit=300 << 20) as executors:
        first = await run(executors, tasks.pid)
        assert first == await run(executors, tasks.grow, 1 << 20)
        assert first == await run(executors, tasks.grow, 300 << 20)  # its result counts
        await until_gone(first)
        assert first != await run(executors, tasks.pid)


# -- the rest of the world -----------------------------------------------------------


async def test_signals_to_the_whole_program_do_not_end_what_runs(one: Executors) -> None:
    assert "alive" == await run(one, tasks.outlive_signals)
    assert -signal.SIGTERM == await run(one, tasks.terminate_a_program)
    assert -signal.SIGTERM == await run(one, tasks.fork_and_terminate)
    assert os.getpgrp() != os.getpgid(await run(one, tasks.pid))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_worker_processes_have_no_file_of_the_database_open(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb")

    @queue.task
    async def noop() -> None: ...

    async with queue, executors_of(processes=1) as executors:
        await noop.enqueue()
        assert any(str(tmp_path) in name for name in tasks.open_files())
        found = await run(executors, tasks.open_files)
        assert found
        assert [] == [name for name in found if str(tmp_path) in name]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_a_process_without_work_does_not_wake_up(one: Executors) -> None:
    pid = await run(one, tasks.pid)
    async with asyncio.timeout(PATIENCE):  # it may be on its way to sleep for a while
        while await asyncio.to_thread(wakes_up_within_a_second, pid):
            pass


def wakes_up_within_a_second(pid: int) -> bool:
    before = wakeups(pid)
    threading.Event().wait(1.0)
    return wakeups(pid) != before


def wakeups(pid: int) -> int:
    """Return how often the threads of a process have gone to sleep."""
    return sum(
        int(line.split()[1])
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for line in (thread / "status").read_text(encoding="utf-8").splitlines()
        if line.startswith("voluntary_ctxt_switches")
    )


async def test_the_event_loop_goes_on_while_50_tasks_use_all_processors() -> None:
    turns = 0

    async def watch() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    async with executors_of(processes=2) as executors:
        watcher = asyncio.create_task(watch())
        await asyncio.gather(*(run(executors, tasks.spin, 0.05) for _ in range(50)))
        watcher.cancel()
    assert turns > 100  # at most one per task, if they held it up


OWNER = """
import asyncio, sys
from support import process_tasks as tasks
from support.calls import call
from wopr.executors.choice import Executors

async def main():
    executors = Executors(processes=2)
    pool = executors.of("process", False)
    print(await pool.run(call(tasks.pid)), flush=True)
    def told(task, percent, message, data):
        print(message, flush=True)
    running = asyncio.create_task(pool.run(call(tasks.begin_a_program_and_wait, report=told)))
    running_too = asyncio.create_task(pool.run(call(tasks.begin_and_wait, report=told)))
    await asyncio.to_thread(sys.stdin.readline)
    {end}

if __name__ == "__main__":
    asyncio.run(main())
"""


def owner(tmp_path: Path, end: str) -> subprocess.Popen[str]:
    program = tmp_path / "owner.py"
    program.write_text(OWNER.format(end=end))
    return subprocess.Popen(
        [sys.executable, program],
        env=clean_environment() | {"PYTHONPATH": str(ROOT / "tests")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_worker_processes_end_when_the_program_is_killed(tmp_path: Path) -> None:
    with owner(tmp_path, "pass") as program:
        assert program.stdout is not None
        pids = [int(program.stdout.readline()) for _ in range(3)]
        assert [False] * 3 == [is_gone(pid) for pid in pids]
        program.kill()
        for pid in pids:
            await until_gone(pid)
        program.communicate()


async def test_worker_processes_end_when_the_program_is_killed_whose_forked_child_lives(
    tmp_path: Path,
) -> None:
    forks = "import os, threading; child = os.fork(); child or threading.Event().wait()"
    with owner(tmp_path, f"{forks}\n    print(child, flush=True); await running") as program:
        assert program.stdin is not None
        assert program.stdout is not None
        pids = [int(program.stdout.readline()) for _ in range(3)]
        program.stdin.write("fork\n")
        program.stdin.flush()
        child = int(program.stdout.readline())
        program.kill()
        try:
            for pid in pids:
                await until_gone(pid)
            assert not is_gone(child)
        finally:
            os.kill(child, signal.SIGKILL)
        program.communicate()


async def test_a_program_that_forgets_to_close_ends_all_the_same(tmp_path: Path) -> None:
    with owner(tmp_path, "return") as program:
        assert program.stdout is not None
        pids = [int(program.stdout.readline()) for _ in range(3)]
        _, errors = program.communicate("end\n", timeout=PATIENCE)
        assert (0, "") == (program.returncode, errors)
        for pid in pids:
            await until_gone(pid)


async def test_functions_of_the_main_module_work_under_the_usual_guard(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio\n"
        "from support.calls import call\n"
        "from wopr import TaskQueue\n"
        "from wopr.executors.choice import Executors\n"
        "queue = TaskQueue(enabled=True)\n"
        "class Mine(Exception):\n"
        "    pass\n"
        "@queue.task\n"
        "def fail(number: int) -> None:\n"
        "    raise Mine(number)\n"
        "async def main():\n"
        "    executors = Executors()\n"
        "    executors.check('process', fail.function, False, None)\n"
        "    try:\n"
        "        await executors.of('process', False).run(call(fail.function, 7))\n"
        "    except Mine as error:\n"
        "        print('caught', error)\n"
        "    await executors.close()\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, program],
        env=clean_environment() | {"PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ("caught 7\n", "") == (done.stdout, done.stderr)
