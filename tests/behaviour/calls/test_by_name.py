"""Functions that a call names by their module: what may be imported for that, and what never."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.queues import PATIENCE
from wopr import InvalidCallError, InvalidSettingError, Settings, TaskNotRegisteredError, TaskQueue
from wopr.calls.byname import ByName
from wopr.queue.queue import inside

JOBS = """
import subprocess
from os import system
from os.path import join as glue

import wopr
from bakery.inner import helper

limit = 7
alias = wopr

def bake(loaves: int) -> int:
    return loaves * 2

async def sell(loaves: int) -> int:
    return loaves + 1

@wopr.schedule(every=3600)
@wopr.task(category="ovens", max_retries=3)
def clean() -> str:
    return "clean"

@wopr.task(name="bakery-renamed")
def renamed() -> None: ...

def _secret() -> None: ...

class Oven:
    def heat(self) -> None: ...

other = bake
short = lambda: None

def __getattr__(name):
    raise AssertionError(f"{name} was looked up by code of the module")
"""
FILES = {
    "bakery/__init__.py": "",
    "bakery/jobs.py": JOBS,
    "bakery/inner.py": "def helper() -> None: ...\n",
    "bakery/_own.py": "def bake() -> None: ...\n",
    "bakery/broken.py": "import not_installed_anywhere\n",
    "pantry.py": "def eat() -> None: ...\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder with modules, on the path of Python for the time of the test."""
    before = set(sys.modules)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in {"bakery", "pantry"}:
            del sys.modules[name]


def allowing(folder: Path, modules: str) -> TaskQueue:
    settings = Settings(allow_modules=modules)
    return TaskQueue(enabled=True, database=folder / "q.duckdb", settings=settings)


def finder_of(queue: TaskQueue) -> ByName:
    finder = inside(queue).registry.by_name
    assert finder is not None
    return finder


def searched(queue: TaskQueue) -> None:
    """Wait until all was looked for that waits."""
    thread = finder_of(queue)._thread
    assert thread is not None
    thread.join(PATIENCE)
    assert not thread.is_alive()


async def test_an_allowed_function_is_enqueued_by_its_name(folder: Path) -> None:
    async with allowing(folder, "bakery.*") as queue:
        await queue.start_workers()
        handles = [
            await queue.enqueue("bakery.jobs:bake", (3,)),
            await queue.enqueue("bakery.jobs.sell", kwargs={"loaves": 3}),
        ]
        assert [await one.result(timeout=20) for one in handles] == [6, 4]
        assert [(await one.info()).name for one in handles] == [
            "bakery.jobs.bake",
            "bakery.jobs.sell",
        ]
        with pytest.raises(InvalidCallError, match="loaves"):
            await queue.enqueue("bakery.jobs:bake", ("three",))


async def test_a_function_of_the_program_that_runs_is_named_as_others_name_it(
    folder: Path,
) -> None:
    program = folder / "till.py"
    program.write_text(
        "import asyncio\n"
        "from wopr import Settings, TaskQueue\n"
        "def pay(n: int) -> int: return n + 1\n"
        "async def main() -> None:\n"
        "    settings = Settings(allow_modules='till')\n"
        "    async with TaskQueue(enabled=True, database='q.duckdb', settings=settings) as queue:\n"
        "        await queue.start_workers()\n"
        "        print(await (await queue.enqueue('till:pay', (1,))).result(timeout=20))\n"
        "asyncio.run(main())\n"
    )
    ran = await asyncio.to_thread(
        subprocess.run, [sys.executable, program], cwd=folder, capture_output=True, text=True
    )
    assert ("2\n", 0) == (ran.stdout, ran.returncode), ran.stderr


async def test_a_declared_task_has_its_own_options_also_by_its_name(folder: Path) -> None:
    async with allowing(folder, "bakery.jobs") as queue:
        info = await (await queue.enqueue("bakery.jobs:clean")).info()
        assert (info.category, info.max_retries) == ("ovens", 3)
        await queue.schedules.sync()
        assert await queue.schedules.list() == []  # to name it is not to put it into the queue
        queue.include(sys.modules["bakery.jobs"].clean)
        await queue.schedules.sync()
        assert [one.task for one in await queue.schedules.list()] == ["bakery.jobs.clean"]


async def test_a_worker_finds_the_function_that_a_waiting_task_names(folder: Path) -> None:
    async with TaskQueue(enabled=True, database=folder / "q.duckdb") as web:
        web.register_task("bakery.jobs.bake")(lambda loaves: None)
        task_id = await web.add_task("bakery.jobs.bake", None, None, None, 4)
    async with allowing(folder, "bakery.jobs") as queue:
        assert "bakery.jobs" not in sys.modules
        await queue.start_workers()
        assert await queue.handle(task_id).result(timeout=20) == 8


NEVER = [
    "bakery.jobs:system",
    "bakery.jobs:glue",
    "bakery.jobs:helper",
    "bakery.jobs:subprocess",
    "bakery.jobs:subprocess.run",
    "bakery.jobs.subprocess.run",
    "bakery.jobs.alias.task",
    "bakery.jobs:Oven",
    "bakery.jobs:Oven.heat",
    "bakery.jobs.Oven.heat",
    "bakery.jobs:limit",
    "bakery.jobs:other",
    "bakery.jobs:short",
    "bakery.jobs:renamed",
    "bakery.jobs:missing",
    "bakery.jobs:_secret",
    "bakery.jobs:__getattr__",
    "bakery.jobs:__builtins__",
    "bakery.jobs.__builtins__.eval",
    "bakery._own:bake",
    "bakery.inner:helper",
    "bakery:jobs",
    "pantry:eat",
    "pantry.eat",
    "os:system",
    "builtins:eval",
    "subprocess:run",
    "wopr:task",
    "../pantry:eat",
    "bakery.jobs:bake;import os",
    "bakery.jobs:bake\n",
]


@pytest.mark.parametrize("name", NEVER)
async def test_nothing_else_can_be_named_and_nothing_else_is_imported(
    folder: Path, name: str
) -> None:
    async with allowing(folder, "bakery.jobs") as queue:
        with pytest.raises(TaskNotRegisteredError):
            await queue.enqueue(name)
        await queue.start_workers()
        inside(queue).registry.want(name)
        assert queue.task_functions == {}
    assert {"pantry", "bakery._own", "bakery.broken"}.isdisjoint(sys.modules)


@pytest.mark.parametrize("name", ["bakery.jobs:bake", "os:system", "os.path.join", "shop"])
async def test_no_module_is_allowed_unless_somebody_says_so(folder: Path, name: str) -> None:
    async with allowing(folder, "") as queue:
        with pytest.raises(TaskNotRegisteredError, match="not registered"):
            await queue.enqueue(name)
    assert "bakery" not in sys.modules


@pytest.mark.parametrize("pattern", ["*", "**", "*.jobs"])
def test_all_modules_there_are_can_not_be_allowed(pattern: str) -> None:
    with pytest.raises(InvalidSettingError, match="whose first part is a name"):
        Settings(allow_modules=pattern)


async def test_what_is_missing_is_said_with_the_setting(folder: Path) -> None:
    async with allowing(folder, "bakery.broken") as queue:
        queue.register_task("pantry.eat")(lambda: None)
        handle = await queue.enqueue("pantry.eat")
        inside(queue).registry.definitions.clear()
        await queue.start_workers()
        said = "WOPR_TASKS_ALLOW_MODULES=pantry"
        assert said in (await queue.explain(handle.id)).text
        [reason] = [one for one in (await queue.status()).reasons if one.kind == "unregistered"]
        assert said in reason.text
        with pytest.raises(TaskNotRegisteredError, match=said):
            await queue.enqueue("pantry.eat")


async def test_a_schedule_of_an_allowed_function_is_known_again_after_a_restart(
    folder: Path,
) -> None:
    async with allowing(folder, "bakery.jobs") as queue:
        await queue.schedules.add("daily", "bakery.jobs.sell", at="03:00", args=(1,))
        await queue.schedules.add("other", "bakery.jobs.sell", at="04:00", args=(1,))
    async with allowing(folder, "") as queue:
        await queue.start_scheduler()
        standing = await queue.schedules.get("daily")
        assert standing.reason == "unregistered"
        assert "WOPR_TASKS_ALLOW_MODULES=bakery.jobs" in standing.text
    async with allowing(folder, "bakery.jobs") as queue:
        await queue.start_scheduler()
        searched(queue)
        assert (await queue.schedules.get("daily")).reason == "planned"


async def test_an_import_that_ends_the_program_fails_like_any_other(folder: Path) -> None:
    (folder / "bakery/exit.py").write_text("raise KeyboardInterrupt('password=hunter2')\n")
    queue = allowing(folder, "bakery.*")
    for name in ("bakery.exit.work", "bakery.jobs.bake"):
        finder_of(queue).want(name)
        searched(queue)
    assert "password=***" in finder_of(queue).told("bakery.exit.work")
    assert list(queue.task_functions) == ["bakery.jobs.bake"]


async def test_an_import_that_fails_is_tried_once_and_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with TaskQueue(enabled=True, database=folder / "q.duckdb") as web:
        web.register_task("bakery.broken.work")(lambda: None)
        ids = [await web.add_task("bakery.broken.work") for _ in range(3)]
    async with allowing(folder, "bakery.**") as queue:
        await queue.start_workers()
        await queue.enqueue("bakery.jobs.bake", (1,))
        handle = await queue.enqueue("bakery.jobs.sell", (1,))
        assert await handle.result(timeout=20) == 2
        searched(queue)
        said = "Importing 'bakery.broken' failed"
        assert said in (await queue.explain(ids[0])).text
        [reason] = [one for one in (await queue.status()).reasons if one.kind == "unregistered"]
        assert (said in reason.text, reason.tasks) == (True, 3)
    assert sum(said in line for line in caplog.messages) == 1


async def test_names_from_outside_fill_no_memory(folder: Path) -> None:
    queue = allowing(folder, "bakery.jobs")
    finder = finder_of(queue)
    for number in range(3_000):
        finder.want(f"bakery.jobs.missing{number}")
    searched(queue)
    told = [finder.told(f"bakery.jobs.missing{number}") for number in range(3_000)]
    assert 0 < sum("was looked for" in text for text in told) <= 1_000
