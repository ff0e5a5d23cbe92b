"""``wopr worker --discover``: tasks of modules that the queue's own module does not import."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.programs import BIN, run, run_ok
from support.workers import environment, read_until, worker

TASK = "import wopr\n\n@wopr.task(category={0!r})\ndef work() -> None: ...\n"
FILES = {
    "application.py": "from wopr import TaskQueue\n\nqueue = TaskQueue()\n",
    "given.py": "from wopr import Settings, TaskQueue\n\n"
    "queue = TaskQueue(enabled=True, settings=Settings(discover='bakery.cake.tasks'))\n",
    "bakery/bread/tasks.py": TASK.format("bread"),
    "bakery/cake/tasks.py": TASK.format("cake"),
    "bakery/broken.py": "import not_installed_anywhere\n",
    "parcels.py": TASK.format("parcels"),
    "parcels-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: parcels\nVersion: 1.0\n",
    "parcels-1.0.dist-info/entry_points.txt": "[wopr.tasks]\nparcels = parcels\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_worker_takes_what_patterns_and_installed_packages_offer(folder: Path) -> None:
    with worker(folder, "--discover", "bakery.b*.tasks", "--discover", "bakery.cake.*") as process:
        assert "workers: bread:4, cake:4, parcels:4." in read_until(process, "Started")


def test_the_option_comes_before_the_code_and_the_code_before_the_environment(folder: Path) -> None:
    with worker(folder, target="given:queue") as process:
        assert "workers: cake:4, parcels:4." in read_until(process, "Started")
    options = ("--discover", "bakery.bread.tasks")
    with worker(folder, *options, target="given:queue") as process:
        assert "workers: bread:4, parcels:4." in read_until(process, "Started")


def test_a_worker_runs_what_tasks_name_if_its_module_is_allowed(folder: Path) -> None:
    (folder / "jobs.py").write_text("def bake(n: int) -> int:\n    print('baked', n, flush=True)\n")
    allowed = {**environment(), "WOPR_TASKS_ALLOW_MODULES": "jobs"}
    (folder / "enqueue.py").write_text(
        "import asyncio\nfrom application import queue\n\n"
        "async def main():\n    async with queue:\n"
        "        await queue.enqueue('jobs:bake', (7,))\n\n"
        "asyncio.run(main())\n"
    )
    run_ok([sys.executable, "enqueue.py"], folder, env=allowed)
    with worker(folder, "--allow-module", "jobs") as process:
        log = read_until(process, "was found by its name")
        assert process.stdout is not None
        assert process.stdout.readline() == "baked 7\n"
    assert "default:4" in log


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("bakery.broken", "Importing 'bakery.broken' failed"),
        ("bakery.broken", "No module named 'not_installed_anywhere'"),
        ("bakery.*.jobs", "No module matches 'bakery.*.jobs'"),
        ("*.tasks", "whose first part is a name"),
    ],
)
def test_a_worker_that_does_not_find_its_modules_does_not_start(
    folder: Path, pattern: str, said: str
) -> None:
    command = [BIN / "wopr", "worker", "application:queue", "--discover", pattern]
    done = run(command, folder, env=environment())
    assert (2, "") == (done.returncode, done.stdout)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [] == list(folder.glob("*.duckdb"))
