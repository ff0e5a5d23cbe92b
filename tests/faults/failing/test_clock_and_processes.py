"""Clocks that step back, other processes, forks, and files that go away under an open queue."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from faults.failing.conftest import PATIENCE
from support.audit import clean, doctor
from support.paths import ROOT
from support.queues import SteppableClock
from wopr import TaskQueue, TaskStatus
from wopr.domain.errors import StorageError, StorageForkedError, StorageOwnedError

HOUR = 3_600.0


def _echo(queue: TaskQueue) -> Any:
    @queue.task(name="echo", category="c")
    async def echo(n: int) -> int:
        return n

    return echo


# -- the clock ---------------------------------------------------------------------


async def test_a_clock_that_steps_back_an_hour_disturbs_no_order_and_no_duration(
    path: Path,
) -> None:
    clock = SteppableClock()
    queue = TaskQueue(enabled=True, database=path, clock=clock)
    order: list[int] = []
    began, go_on = asyncio.Event(), asyncio.Event()

    @queue.task(name="note", category="c", max_retries=0)
    async def note(n: int) -> int:
        order.append(n)
        return n

    @queue.task(name="held", category="held")
    async def held() -> str:
        began.set()
        await go_on.wait()
        return "done"

    async with queue:
        await queue.start_workers("held", 1)
        running = await held.enqueue()
        await asyncio.wait_for(began.wait(), PATIENCE)
        doomed = await held.enqueue()
        handles = [await note.enqueue(n) for n in range(3)]
        delayed = await note.options(delay=60).enqueue(99)
        clock.advance(-HOUR, queue)
        handles += [await note.enqueue(n) for n in range(3, 6)]
        assert sorted(handle.id for handle in handles) == [handle.id for handle in handles]
        clock.seconds += 2.0
        go_on.set()
        assert "done" == await running.result(timeout=PATIENCE)
        await queue.wait(doomed.id, timeout=PATIENCE)
        await queue.start_workers("c", 1)
        for handle in handles:
            await handle.result(timeout=PATIENCE)
        assert [0, 1, 2, 3, 4, 5] == order
        clock.advance(HOUR + 61, queue)
        assert 99 == await delayed.result(timeout=PATIENCE)
        info = await running.info()
        assert 2.0 == info.elapsed_seconds
        for handle in [running, delayed, *handles]:
            history = await queue.get_history(handle.id)
            times = [entry.occurred_at for entry in history if entry.attempt == 1]
            assert sorted(times) == times
    clean(path, whole=True)


async def test_a_task_cancelled_after_the_clock_stepped_back_did_not_run_for_less_than_nothing(
    path: Path,
) -> None:
    clock = SteppableClock()
    queue = TaskQueue(enabled=True, database=path, clock=clock)
    began = asyncio.Event()

    @queue.task(name="endless", category="c")
    async def endless() -> None:
        began.set()
        await asyncio.Event().wait()

    async with queue:
        await queue.start_workers("c", 1)
        handle = await endless.enqueue()
        await asyncio.wait_for(began.wait(), PATIENCE)
        clock.advance(-HOUR, queue)
        assert await handle.cancel()
        info = await handle.info()
        assert info.elapsed_seconds >= 0
        history = [entry.occurred_at for entry in await queue.get_history(handle.id)]
        assert sorted(history) == history


# -- processes ---------------------------------------------------------------------


async def test_a_second_process_is_told_who_has_the_file_and_the_first_goes_on(
    queue: TaskQueue, path: Path
) -> None:
    echo = _echo(queue)
    await echo.enqueue(1)
    program = (
        "import asyncio, sys\n"
        "from wopr import TaskQueue\n"
        "from wopr.domain.errors import StorageOwnedError\n"
        "try:\n"
        "    asyncio.run(TaskQueue(enabled=True, database=sys.argv[1]).start_workers('c', 1))\n"
        "except StorageOwnedError as error:\n"
        "    print(error.pid, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert done.stdout.startswith(f"{os.getpid()} "), done.stderr
    assert str(path) in done.stdout
    await queue.start_workers("c", 1)
    assert 2 == await (await echo.enqueue(2)).result(timeout=PATIENCE)


async def test_workers_of_a_second_queue_in_the_process_wait_for_the_first_to_end(
    queue: TaskQueue, path: Path
) -> None:
    handle = await _echo(queue).enqueue(1)
    other = TaskQueue(enabled=True, database=path)
    _echo(other)
    await other.start_workers("c", 1)
    assert (await queue.get_task_stats())["running"] == 0  # they don't run beside it
    await queue.shutdown()
    assert 1 == await other.handle(handle.id).result(timeout=PATIENCE)
    await other.shutdown()


async def test_a_forked_child_is_refused_and_the_parent_goes_on(
    queue: TaskQueue, path: Path
) -> None:
    echo = _echo(queue)
    await echo.enqueue(1)
    storage = queue.storage
    pid = os.fork()
    if pid == 0:  # no event loop here: the storage itself has to refuse
        code = 1
        try:
            storage.submit([], lambda error: None)
        except StorageForkedError as error:
            code = 0 if str(os.getpid()) in str(error) else 2
        finally:
            os._exit(code)
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)

    assert 0 == os.waitstatus_to_exitcode(status)
    await queue.start_workers("c", 1)
    assert 2 == await (await echo.enqueue(2)).result(timeout=PATIENCE)


def test_a_worker_that_was_stopped_for_a_while_goes_on_and_loses_nothing(path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from wopr import TaskQueue\n"
        "queue = TaskQueue(enabled=True, database=sys.argv[1])\n"
        "@queue.task(name='echo', category='c')\n"
        "async def echo(n: int) -> int:\n"
        "    return n\n"
        "async def main():\n"
        "    async with queue:\n"
        "        await queue.start_workers('c', 2)\n"
        "        for n in range(400):\n"
        "            handle = await echo.enqueue(n)\n"
        "            print(handle.id, flush=True)\n"
        "        await handle.result(timeout=60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        ids = [child.stdout.readline().strip() for _ in range(50)]
        for _ in range(5):
            os.kill(child.pid, signal.SIGSTOP)
            assert os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1])
            with pytest.raises(StorageOwnedError):  # it has the file, frozen or not
                doctor(path)
            os.kill(child.pid, signal.SIGCONT)
        ids += [line.strip() for line in child.stdout]
        assert 0 == child.wait(PATIENCE)

    found = clean(path, whole=True)
    assert 400 == len(ids)
    assert {TaskStatus.SUCCESS} == {found.folded[task_id].status for task_id in ids}
    assert {1} == {found.folded[task_id].attempt for task_id in ids}


# -- the file ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deleted", "replaced"])
async def test_nothing_is_acknowledged_once_the_file_is_gone(path: Path, how: str) -> None:
    queue = TaskQueue(enabled=True, database=path)
    echo = _echo(queue)
    kept = await echo.enqueue(1)
    aside = path.with_name("aside")
    path.rename(aside)
    if how == "replaced":
        path.write_bytes(b"another file")

    with pytest.raises(StorageError, match=how):
        await echo.enqueue(2)

    if how == "replaced":
        assert b"another file" == path.read_bytes()
    aside.replace(path)  # it is back: the queue goes on
    third = await echo.enqueue(3)
    await queue.shutdown()
    assert {kept.id, third.id} == set(clean(path, whole=True).rows)


async def test_a_file_cut_in_half_is_refused_untouched_and_whole_again_when_put_back(
    path: Path,
) -> None:
    queue = TaskQueue(enabled=True, database=path)
    echo = _echo(queue)
    ids = [(await echo.enqueue(n)).id for n in range(10)]
    await queue.shutdown()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])

    again = TaskQueue(enabled=True, database=path)
    with pytest.raises(StorageError, match=str(path)):
        await again.start_workers("c", 1)
    assert data[: len(data) // 2] == path.read_bytes(), "a damaged file is evidence: left alone"
    path.write_bytes(data)
    async with TaskQueue(enabled=True, database=path) as mended:
        assert set(ids) == {info.id for info in await mended.get_tasks()}
