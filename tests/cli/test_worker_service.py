"""``wopr worker`` as a service: its settings, its logs, its health, and starting again."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from support.audit import doctor
from support.programs import BIN, run, run_ok
from support.queues import PATIENCE
from support.workers import environment, read_until, worker
from wopr import TaskQueue, TaskStatus

APPLICATION = """
import asyncio, logging, threading
from concurrent.futures import ThreadPoolExecutor
from wopr import Settings, TaskQueue

queue = TaskQueue()
quiet = TaskQueue(enabled=True, settings=Settings(log_format="json", shutdown_seconds=3))
log = logging.getLogger("shop")
left = []

@quiet.task(category="money")
async def idle(): ...

@queue.task(name="pay", category="money")
async def pay(number: int):
    log.info("paying %d password=hunter2", number)
    if number < 0:
        raise ValueError(f"password=hunter2 {number}\\nis too little")

@queue.task(name="long", category="naps")
async def long():
    log.info("in the old long")
    await asyncio.sleep(3600)

@queue.task(name="stubborn", category="naps")
async def stubborn():
    log.info("in stubborn")
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

def block():
    log.info("in it")
    threading.Event().wait(3600)

@queue.task(name="blocking", category="naps")
async def blocking():
    await asyncio.to_thread(block)

@queue.task(name="plain", category="naps")
def plain():
    block()

@queue.task(name="pooled", category="naps", executor=ThreadPoolExecutor(1))
def pooled():
    block()

@queue.task(name="leaving", category="naps")
async def leaving():
    left.append(asyncio.create_task(stubborn.function()))
    await asyncio.sleep(0)
    log.info("in it")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "application.py").write_text(APPLICATION)
    return tmp_path


async def add(folder: Path, name: str, *args: Any, count: int = 1) -> list[str]:
    """Enqueue a task many times; the worker may run already."""
    queue = TaskQueue(enabled=True, database=folder / "wopr_tasks.duckdb")
    category = "money" if name == "pay" else "naps"
    task = queue.task(name=name, category=category, max_retries=1, retry=None)(lambda *args: None)
    async with queue:
        return [handle.id for handle in await task.enqueue_many([args] * count)]


def enqueue(folder: Path, name: str, *args: Any, count: int = 1) -> list[str]:
    return asyncio.run(add(folder, name, *args, count=count))


def standing(folder: Path, task_id: str) -> tuple[TaskStatus, int, int]:
    """Return a task's status, attempts and crashes, once the worker has ended."""

    async def look() -> tuple[TaskStatus, int, int]:
        async with TaskQueue(enabled=True, database=folder / "wopr_tasks.duckdb") as queue:
            info = await queue.require_task_info(task_id)
            return info.status, info.attempt, info.crashes

    return asyncio.run(look())


def test_the_start_line_tells_the_settings_that_count(folder: Path) -> None:
    (folder / "wopr.toml").write_text('shutdown_seconds = 7\ndatabase = "toml.duckdb"\n')
    (folder / ".env").write_text("WOPR_TASKS_DATABASE=env.duckdb\n")
    with worker(folder, "--log-level", "debug") as process:
        log = read_until(process, "Started")
    assert f"Started application:queue on {folder / 'env.duckdb'}" in log
    assert "workers: money:4, naps:4. Grace time 7 s, log DEBUG as console, no HTTP." in log


def test_an_option_wins_over_everything_else(folder: Path) -> None:
    (folder / "wopr.toml").write_text("shutdown_seconds = 7\nlog_format = 'json'\nhttp = 1\n")
    (folder / ".env").write_text("WOPR_TASKS_DATABASE=env.duckdb\n")
    options = ("--grace", "0.5", "--log-format", "console", "-d", "flag.duckdb", "--http", "0")
    with worker(folder, *options) as process:
        log = read_until(process, "Started")
    assert f"on {folder / 'flag.duckdb'}" in log
    assert "Grace time 0.5 s, log INFO as console, http://127.0.0.1:" in log


def test_settings_in_the_code_count_before_files_and_after_options(folder: Path) -> None:
    (folder / "wopr.toml").write_text("shutdown_seconds = 7\n")
    with worker(folder, target="application:quiet") as process:
        started = json.loads(read_until(process, "Started"))
    assert "Grace time 3 s, log INFO as json" in started["event"]
    with worker(folder, "--grace", "1", target="application:quiet") as process:
        assert "Grace time 1 s" in read_until(process, "Started")


def test_a_database_of_a_settings_file_is_that_of_other_commands_too(folder: Path) -> None:
    (folder / "wopr.toml").write_text('database = "toml.duckdb"\n')
    with worker(folder) as process:
        read_until(process, f"Started application:queue on {folder / 'toml.duckdb'}")
        assert 0 == json.loads(run_ok([BIN / "wopr", "stats", "--json"], folder))["running"]
    elsewhere = run([BIN / "wopr", "stats", "-d", "wopr_tasks.duckdb"], folder)
    assert (3, True) == (elsewhere.returncode, "no database file" in elsewhere.stderr)


@pytest.mark.parametrize(
    ("file", "options", "expected"),
    [
        ("", ("--log-level", "loud"), "--log-level: Input should be 'DEBUG'"),
        ("", ("--log-format", "xml"), "--log-format: Input should be 'console'"),
        ("", ("--http", "here"), "--http: an address is a port or host:port"),
        ("window = 1\n", (), "wopr.toml: window: Input should be greater"),
        ("windows = 1\n", (), "there is no setting 'windows'. Did you mean window?"),
        ("window = \n", (), "wopr.toml is no TOML"),
    ],
)
def test_a_wrong_setting_is_explained(
    folder: Path, file: str, options: tuple[str, ...], expected: str
) -> None:
    (folder / "wopr.toml").write_text(file)
    command = [BIN / "wopr", "worker", "application:queue", *options]
    done = run(command, folder, env=environment())
    assert (2, "") == (done.returncode, done.stdout)
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert [] == list(folder.glob("*.duckdb"))


def test_json_logs_carry_the_task_and_no_secret(folder: Path) -> None:
    (task_id,) = enqueue(folder, "pay", 7)
    with worker(folder, "--log-format", "json", "-c", "money:1") as process:
        log = read_until(process, "paying")
        process.send_signal(signal.SIGTERM)
        log += process.communicate(timeout=PATIENCE)[1]
    entries = [json.loads(line) for line in log.splitlines()]
    (paying,) = (entry for entry in entries if entry["logger"] == "shop")
    assert "paying 7 password=***" == paying["event"]
    assert (task_id, "pay", "money", 1) == (
        paying["task_id"],
        paying["task_name"],
        paying["category"],
        paying["attempt"],
    )


def test_failures_are_logged_with_their_task(folder: Path) -> None:
    (task_id,) = enqueue(folder, "pay", -7)
    with worker(folder, "--log-format", "json", "-c", "money:1") as process:
        entries = [json.loads(line) for line in read_until(process, "last one").splitlines()]
    told = [entry for entry in entries if "failed" in entry["event"]]
    assert [
        ("WARNING", 1, "Attempt 1 of task pay failed: ValueError: password=*** -7"),
        ("ERROR", 2, "Attempt 2 of task pay failed, the last one: ValueError: password=*** -7"),
    ] == [(entry["level"], entry["attempt"], entry["event"]) for entry in told]
    assert [task_id] * 2 == [entry["task_id"] for entry in told]


def test_what_a_task_logs_can_be_read_later(folder: Path) -> None:
    (task_id,) = enqueue(folder, "pay", 7)
    command = [BIN / "wopr", "tasks", "logs", task_id]
    nothing = run_ok(command, folder)
    with worker(folder) as process:
        read_until(process, "paying")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert "has logged nothing" in nothing
    assert "attempt 1 INFO    shop: paying 7 password=***\n" in run_ok(command, folder)
    (line,) = json.loads(run_ok([*command, "--json"], folder))["logs"]
    assert ("shop", 1) == (line["logger"], line["number"])
    unknown = run([BIN / "wopr", "tasks", "logs", "x"], folder)
    assert (1, True) == (unknown.returncode, "There is no task 'x'" in unknown.stderr)


def test_health_is_served_until_the_end(folder: Path) -> None:
    enqueue(folder, "long")
    with worker(folder, "--http", "0", "--grace", "600") as process:
        log = read_until(process, "in the old long")
        url = next(word for word in log.split() if word.startswith("http://")).rstrip(".")
        assert b"ready" in urllib.request.urlopen(f"{url}/ready", timeout=PATIENCE).read()
        process.send_signal(signal.SIGTERM)
        read_until(process, "Draining")
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{url}/ready", timeout=PATIENCE)
        assert b"ok" in urllib.request.urlopen(f"{url}/health", timeout=PATIENCE).read()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert 1 == process.returncode


def test_a_port_in_use_ends_the_start_in_words(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = [BIN / "wopr", "worker", "application:queue", "--http", str(port)]
        done = run(command, folder, env=environment())
    assert (2, "") == (done.returncode, done.stdout)
    assert f"Nothing can listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_next_worker_takes_over_port_and_file(folder: Path) -> None:
    enqueue(folder, "pay", 7)
    with worker(folder, "--http", "0") as old:
        log = read_until(old, "Started")
        port = log.partition("http://127.0.0.1:")[2].partition(".")[0]
        with worker(folder, "--http", port) as new:
            read_until(new, "Standing by")
            old.send_signal(signal.SIGTERM)
            old.communicate(timeout=PATIENCE)
            read_until(new, "Started")
            assert urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=PATIENCE).read()
    assert 0 == old.returncode


def test_the_workers_are_listed(folder: Path) -> None:
    (task_id,) = enqueue(folder, "long")
    command = [BIN / "wopr", "workers", "list"]
    assert "No process has workers" in run_ok(command, folder)
    with worker(folder, "-c", "naps:1", "-c", "money:1") as process:
        read_until(process, "in the old long")
        listed = json.loads(run_ok([*command, "--json"], folder))["workers"]
        shown = run_ok(command, folder)
    idle, busy = sorted(listed, key=lambda info: info["category"])
    assert ("money", None, None) == (idle["category"], idle["task_id"], idle["last_claim_at"])
    assert ("naps", task_id, "long", 1) == (
        busy["category"],
        busy["task_id"],
        busy["task_name"],
        busy["attempt"],
    )
    assert busy["last_claim_at"]
    assert busy["heartbeat_at"]
    assert f"long  {task_id}" in shown


def test_a_full_worker_puts_everything_back(folder: Path) -> None:
    enqueue(folder, "long", count=11_000)
    with worker(folder, "-c", "naps:1000", "--grace", "0.1", "--json") as process:
        log = ""
        for _ in range(1_000):
            log = read_until(process, "in the old long")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
    assert 0 == process.returncode
    summary = json.loads(out)
    assert (1_000, 0, 1_000) == (
        summary["running_at_signal"],
        summary["finished"],
        summary["put_back"],
    )
    assert "Traceback" not in log + err
    rows = json.loads(
        run_ok(
            [
                BIN / "wopr",
                "sql",
                "--json",
                "select status, attempt, crashes, count(*) as tasks from tasks group by all "
                "order by attempt",
            ],
            folder,
        )
    )["rows"]
    assert [["pending", 0, 0, 10_000], ["pending", 1, 0, 1_000]] == [
        list(row.values()) if isinstance(row, dict) else row for row in rows
    ]
    doctor(folder / "wopr_tasks.duckdb")


def test_a_task_that_ignores_its_cancellation_does_not_keep_the_worker(folder: Path) -> None:
    (task_id,) = enqueue(folder, "stubborn")
    with worker(folder, "--grace", "0.1", "--json") as process:
        read_until(process, "in stubborn")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
    assert 0 == process.returncode
    assert (1, 1) == (json.loads(out)["running_at_signal"], json.loads(out)["put_back"])
    assert "Leaving without 1 task that did not end when cancelled, such as stubborn" in err
    assert (TaskStatus.PENDING, 1, 0) == standing(folder, task_id)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("blocking", "A function still runs in thread asyncio_"),
        ("plain", "A function still runs in thread wopr-"),
        ("pooled", "A function still runs in thread ThreadPoolExecutor"),
        ("leaving", "Leaving without 1 task that did not end when cancelled, such as stubborn"),
    ],
)
def test_what_a_task_leaves_behind_does_not_keep_the_worker(
    folder: Path, name: str, said: str
) -> None:
    enqueue(folder, name)
    with worker(folder, "--grace", "0.1", "--json") as process:
        read_until(process, "in it")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
    assert (0, False) == (process.returncode, json.loads(out)["forced"])
    assert said in err


def test_a_second_signal_ends_the_worker_whatever_a_task_does(folder: Path) -> None:
    (task_id,) = enqueue(folder, "stubborn")
    with worker(folder, "--grace", "600") as process:
        read_until(process, "in stubborn")
        process.send_signal(signal.SIGTERM)
        read_until(process, "Draining")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert 1 == process.returncode
    status, attempt, _ = standing(folder, task_id)
    assert (TaskStatus.PENDING, 1) == (status, attempt)


def test_reload_starts_the_worker_again_when_code_changes(folder: Path) -> None:
    (task_id,) = enqueue(folder, "long")
    with worker(folder, "--reload", "--grace", "0.1", "-c", "naps:1") as parent:
        log = read_until(parent, "in the old long")
        assert f"Watching {folder} for changes" in log
        code = APPLICATION.replace("in the old long", "in the new long")
        (folder / "application.py").write_text(code)
        log = read_until(parent, "in the new long")
        assert "Changed: application.py. Restarting the worker." in log
        assert "0 finished and 1 went back" in log
        parent.send_signal(signal.SIGTERM)
        _, err = parent.communicate(timeout=PATIENCE)
    assert 0 == parent.returncode
    assert 1 == err.count("Draining")
    assert "Second signal" not in err
    assert "Traceback" not in err

    assert (TaskStatus.PENDING, 2, 0) == standing(folder, task_id)


def test_reload_waits_for_a_change_when_the_code_is_broken(folder: Path) -> None:
    (folder / "application.py").write_text("import\n")
    with worker(folder, "--reload") as parent:
        log = read_until(parent, "ended with exit code 2")
        assert "SyntaxError" in log
        (folder / "application.py").write_text(APPLICATION)
        read_until(parent, "Started application:queue")
        parent.send_signal(signal.SIGINT)
        parent.communicate(timeout=PATIENCE)
    assert 0 == parent.returncode


def test_reload_without_its_package_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wopr import WoprError
    from wopr.service.reload import Reloader

    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(WoprError, match=r"pip install 'wopr\[service\]'"):
        Reloader([], folder)._watch()


def test_sigterm_while_the_application_is_imported_ends_it_at_once(tmp_path: Path) -> None:
    (tmp_path / "application.py").write_text(
        "import sys, threading\n"
        "print('importing', file=sys.stderr, flush=True)\n"
        "threading.Event().wait(3600)\n"
    )
    with worker(tmp_path) as process:
        read_until(process, "importing")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
