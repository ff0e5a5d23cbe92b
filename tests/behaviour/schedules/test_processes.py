"""Schedules with several processes on one file: clients, takeovers and kills."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from support.paths import ROOT
from support.queues import PATIENCE, until
from wopr import (
    DuplicateScheduleError,
    InvalidCallError,
    ScheduleNotFoundError,
    Settings,
    TaskQueue,
)
from wopr.queue.queue import inside
from wopr.remote.verbs import VERBS

SEVERAL = Path(__file__).with_name("several.py")
OWNER = ROOT / "tests" / "remote" / "owner.py"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "queue.duckdb"


def started(program: Path, database: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(program), str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def killed(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=PATIENCE)
    process.stdin.close()
    process.stdout.close()


@pytest.fixture
def owner(database: Path) -> Iterator[subprocess.Popen[str]]:
    process = started(OWNER, database)
    yield process
    killed(process)


async def nothing() -> None:
    """Look at nothing: a call in the moment of the kill has no answer."""


def client(database: Path) -> TaskQueue:
    queue = TaskQueue(enabled=True, database=database)

    @queue.task
    async def double(number: int) -> int:
        raise AssertionError("runs in the owner, not here")

    return queue


async def test_a_client_has_every_verb_of_schedules(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    async with client(database) as queue:
        schedules = queue.schedules
        added = await schedules.add("s", "double", args=(21,), every=3_600, tags=["x"])
        assert ((21,), "every 1 h", ("x",), "planned") == (
            added.args,
            added.description,
            added.tags,
            added.reason,
        )
        with pytest.raises(DuplicateScheduleError, match="'s' already"):
            await schedules.add("s", "double", args=(1,), every=60)
        with pytest.raises(ScheduleNotFoundError, match="Did you mean 's'"):
            await schedules.get("ss")
        with pytest.raises(InvalidCallError, match="nobody"):
            await schedules.update("s", depends_on=["nobody"])
        assert 42 == await (await schedules.run_now("s")).result(timeout=PATIENCE)
        assert (1,) == (await schedules.update("s", args=(1,))).args
        assert "paused" == (await schedules.pause("s", "audit")).reason
        assert "planned" == (await schedules.resume("s")).reason
        assert 3 == len(await schedules.preview("s", 3))
        assert [] == await schedules.tick()
        assert ["s"] == [info.name for info in await schedules.list()]
        await schedules.remove("s")
        assert [] == await schedules.list()


def test_the_verbs_of_the_socket_are_a_closed_list() -> None:
    assert {name for name in VERBS if name.startswith("schedule_")} == {
        f"schedule_{verb}"
        for verb in (
            "sync",
            "add",
            "replace",
            "pause",
            "resume",
            "remove",
            "run",
            "all",
            "get",
            "tick",
        )
    }


async def test_what_a_client_declares_runs_in_the_owner_and_pauses_nothing(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    async with client(database) as queue:
        queue.schedules.declare("mine", "double", every={"milliseconds": 10}, args=(4,))
        await queue.start_scheduler(interval=0.01)
        found = await until(queue.get_tasks, lambda tasks: any(task.result == 8 for task in tasks))
        assert {"mine"} == {task.schedule for task in found}
    async with client(database) as queue:
        await queue.start_scheduler()
        assert [None] == [info.paused_reason for info in await queue.schedules.list()]


async def test_a_client_fires_what_its_owner_does_not(database: Path, tmp_path: Path) -> None:
    program = tmp_path / "quiet.py"
    program.write_text(
        OWNER.read_text()
        .replace("import TaskQueue,", "import Settings, TaskQueue,")
        .replace(
            "database=sys.argv[1])", "database=sys.argv[1], settings=Settings(scheduler=False))"
        )
    )
    quiet = started(program, database)
    async with client(database) as queue:
        await queue.schedules.add("s", "double", args=(4,), every={"milliseconds": 10})
        assert "no scheduler" == (await queue.schedules.get("s")).reason
        assert [] == await queue.get_tasks()
        await queue.start_scheduler(interval=0.01)
        await until(queue.get_tasks, lambda tasks: len(tasks) >= 3)
    killed(quiet)


async def test_a_client_takes_over_when_its_owner_is_killed(database: Path) -> None:
    first = started(SEVERAL, database)
    async with TaskQueue(enabled=True, database=database) as queue:
        await queue.start_scheduler(interval=0.01)
        await until(queue.get_tasks, lambda tasks: len(tasks) >= 3)
        killed(first)
        scheduler = inside(queue).access.clockwork
        await until(nothing, lambda _: scheduler._scheduler is not None)
        before = len(await queue.get_tasks(limit=10_000))
        found = await until(
            lambda: queue.get_tasks(limit=10_000), lambda tasks: len(tasks) >= before + 5
        )
        # The code that declared it was in the process that died: it goes on all the same.
        assert [None] == [info.paused_reason for info in await queue.schedules.list()]
        assert len(found) == len({task.scheduled_for for task in found})


@pytest.mark.crash
async def test_however_many_schedulers_run_and_die_each_occurrence_is_enqueued_once(
    database: Path,
) -> None:
    processes = [started(SEVERAL, database) for _ in range(3)]
    try:
        for _ in range(4):
            async with TaskQueue(
                enabled=True, database=database, settings=Settings(scheduler=False)
            ) as queue:
                seen = len(await queue.get_tasks(limit=100_000))
                await until(
                    lambda queue=queue: queue.get_tasks(limit=100_000),  # type: ignore[misc]
                    lambda tasks, seen=seen: len(tasks) >= seen + 10,  # type: ignore[misc]
                )
            killed(processes.pop(0))  # the first one is the owner, or was
            processes.append(started(SEVERAL, database))
    finally:
        for process in processes:
            killed(process)
    async with TaskQueue(
        enabled=True, database=database, settings=Settings(scheduler=False)
    ) as queue:
        planned = sorted(
            task.scheduled_for
            for task in await queue.get_tasks(limit=100_000)
            if task.scheduled_for is not None
        )
    assert len(planned) > 40
    assert {timedelta(milliseconds=20)} == {
        after - before for before, after in itertools.pairwise(planned)
    }
