"""``wopr worker``: real processes, real signals."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest

from support.commands import call
from support.matching import check_document
from support.programs import BIN, run
from support.queues import PATIENCE
from support.workers import environment, read_until, worker
from wopr import TaskInfo, TaskQueue

APPLICATION = """
import asyncio, os, threading
from types import SimpleNamespace
from wopr import TaskQueue, current_task

queue = TaskQueue()
off = TaskQueue(enabled=False)
empty = TaskQueue(enabled=True)
elsewhere = TaskQueue(enabled=True, database="elsewhere.duckdb")
nested = SimpleNamespace(queue=queue)
number = 7

@queue.task(name="short", category="naps")
async def short():
    current_task().logger.warning("in short")
    while not os.path.exists("woken"):
        await asyncio.sleep(0.01)
    return "woken"

@queue.task(name="long", category="naps")
async def long():
    current_task().logger.warning("in long\\x1b[31m")
    await asyncio.sleep(3600)

@queue.task(name="stubborn", category="threads")
def stubborn():
    current_task().logger.warning("in stubborn")
    threading.Event().wait(3600)

@elsewhere.task(name="idle")
async def idle(): ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "application.py").write_text(APPLICATION)
    (tmp_path / "broken.py").write_text("import json\njson.loads('{')\n")
    (tmp_path / "needs.py").write_text("import not_installed_anywhere\n")
    return tmp_path


def enqueue(folder: Path, name: str) -> str:
    """Put a task into the file, as an application would."""

    async def add() -> str:
        queue = TaskQueue(enabled=True, database=folder / "wopr_tasks.duckdb")
        queue.register_task(name, "threads" if name == "stubborn" else "naps")(lambda: None)
        async with queue:
            return await queue.add_task(name)

    return asyncio.run(add())


def info_of(folder: Path, task_id: str) -> TaskInfo:
    async def get() -> TaskInfo:
        async with TaskQueue(enabled=True, database=folder / "wopr_tasks.duckdb") as queue:
            return await queue.require_task_info(task_id)

    return asyncio.run(get())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_task_finish(folder: Path, number: signal.Signals) -> None:
    task_id = enqueue(folder, "short")
    with worker(folder, "-c", "naps:1", "--json") as process:
        read_until(process, "in short")
        process.send_signal(number)
        log = read_until(process, "Draining")
        (folder / "woken").touch()
        out, err = process.communicate(timeout=PATIENCE)
    assert 0 == process.returncode
    assert "Draining: 1 task under way; the grace time is 10 s" in log
    assert "Stopped after" in err
    summary = check_document("worker", json.loads(out))
    summary.pop("seconds")
    assert {"forced": False, "running_at_signal": 1, "finished": 1, "put_back": 0} == summary
    info = info_of(folder, task_id)
    assert ("success", "woken", 1) == (info.status, info.result, info.attempt)


@pytest.mark.parametrize("name", ["long", "stubborn"])
def test_a_task_beyond_the_grace_time_goes_back_at_no_cost(folder: Path, name: str) -> None:
    task_id = enqueue(folder, name)
    with worker(folder, "--grace", "0.1") as process:
        read_until(process, f"in {name}")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
    assert 0 == process.returncode
    assert "leaked" not in err
    info = info_of(folder, task_id)
    assert ("pending", 1, 0, 0) == (info.status, info.attempt, info.retry_count, info.crashes)


@pytest.mark.parametrize("name", ["long", "stubborn"])
def test_a_second_signal_interrupts_at_once(folder: Path, name: str) -> None:
    task_id = enqueue(folder, name)
    with worker(folder, "--grace", "600") as process:
        read_until(process, f"in {name}")
        process.send_signal(signal.SIGTERM)
        read_until(process, "Draining")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
    assert 1 == process.returncode
    assert "interrupting" in err
    assert "Of 1 task under way 0 finished and 1 went back" in err
    info = info_of(folder, task_id)
    assert ("pending", 1, 0, 0) == (info.status, info.attempt, info.retry_count, info.crashes)


def test_every_category_gets_four_workers_unless_told(folder: Path) -> None:
    with worker(folder) as process:
        log = read_until(process, "Started")
    assert "workers: naps:4, threads:4." in log


def test_only_the_named_categories_are_worked_on(folder: Path) -> None:
    with worker(folder, "-c", "naps:2", "-c", "nothing:1") as process:
        log = read_until(process, "nothing to do")
    assert "workers: naps:2, nothing:1." in log


def test_the_log_carries_no_control_characters(folder: Path) -> None:
    enqueue(folder, "long")
    with worker(folder) as process:
        log = read_until(process, "in long")
    assert "\x1b" not in log


def test_other_commands_work_beside_a_worker(folder: Path) -> None:
    task_id = enqueue(folder, "long")
    with worker(folder) as process:
        read_until(process, "in long")
        path = folder / "wopr_tasks.duckdb"
        shown = run([BIN / "wopr", "tasks", "explain", task_id, "-d", path], folder)
        stats = run([BIN / "wopr", "stats", "--json", "-d", path], folder)
        doctor = run([BIN / "wopr", "doctor", "-d", path], folder)
        assert process.poll() is None
    assert "Running: attempt 1" in shown.stdout
    assert 1 == json.loads(stats.stdout)["running"]
    assert 0 == doctor.returncode  # it looks at a copy


@pytest.mark.parametrize(
    ("target", "options", "expected"),
    [
        ("application", (), "Write module:attribute"),
        (":queue", (), "Write module:attribute"),
        ("missing:queue", (), "There is no module 'missing'"),
        ("application.py:queue", (), "Name the module, not the file: application:queue."),
        ("./application.py:queue", (), "Name the module, not the file: application:queue."),
        ("code/application.py:jobs", (), "not the file: code.application:jobs."),
        ("../application:queue", (), "not the file: application:queue."),
        (".application:queue", (), "not the file: application:queue."),
        ("application:nothing", (), "Queues there: elsewhere, empty, off, queue."),
        ("application:number", (), "is no TaskQueue but a int"),
        ("application:nested.nothing", (), "application.nested has no 'nothing'"),
        ("application:off", (), "WOPR_TASKS_ENABLED=1"),
        ("application:empty", (), "no tasks registered"),
        ("application:elsewhere", ("-d", "other.duckdb"), "names its own database"),
        ("application:queue", ("-c", "naps"), "-c naps:4"),
        ("application:queue", ("-c", "naps:0"), "category:count"),
        ("application:queue", ("-c", ":3"), "category:count"),
        ("broken:queue", (), "broken.py"),
        ("needs:queue", (), "No module named 'not_installed_anywhere'"),
    ],
)
def test_a_target_that_can_not_work_is_explained(
    folder: Path, target: str, options: tuple[str, ...], expected: str
) -> None:
    done = run([BIN / "wopr", "worker", target, *options], folder, env=environment())
    assert (2, "") == (done.returncode, done.stdout)
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert "cli/target.py" not in done.stderr
    assert [] == list(folder.glob("*.duckdb"))


def test_a_queue_that_is_switched_off_is_not_run(folder: Path) -> None:
    done = run([BIN / "wopr", "worker", "application:queue"], folder)
    assert 2 == done.returncode
    assert "Start the worker with WOPR_TASKS_ENABLED=1" in done.stderr


def test_a_path_of_attributes_leads_to_the_queue(folder: Path) -> None:
    with worker(folder, "-d", "named.duckdb", target="application:nested.queue") as process:
        log = read_until(process, "Started")
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert f"Started application:nested.queue on {folder / 'named.duckdb'}" in log
    assert 0 == process.returncode
    assert (folder / "named.duckdb").exists()


def test_errors_of_the_worker_are_json_too() -> None:
    answer = call("worker", "missing:queue", "--json")
    assert (2, "UsageError") == (answer.code, answer.json["error"]["type"])


def test_a_worker_waits_for_the_one_before_it(folder: Path) -> None:
    enqueue(folder, "short")
    with worker(folder) as old:
        read_until(old, "in short")
        with worker(folder) as new:
            read_until(new, f"Standing by: process {old.pid} has ")
            old.send_signal(signal.SIGTERM)
            (folder / "woken").touch()
            read_until(new, "Started")
        old.communicate(timeout=PATIENCE)
    assert 0 == old.returncode
