"""wopr in the place of the package that a web framework had for its tasks."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import wopr
from support.programs import run_ok
from support.queues import PATIENCE, DuckDBHome, Gate, running
from wopr import InvalidCallError, TaskQueue, TaskStatus, TaskStorage, should_run_background_workers

APP = '''
import asyncio

from .tasks.models import TaskInfo, TaskStatus
from .tasks.queue import NoopStorage, TaskPriority, TaskQueue, should_run_background_workers
from .tasks.storage import TaskStorage


class App:
    """An application of the framework, as far as it has to do with tasks."""

    def __init__(self):
        self.task_queue = TaskQueue()
        self.startup = []

    def task(self, name=None, category="default"):
        def decorator(function):
            self.task_queue.register_task(name or function.__name__, category)(function)
            return function

        return decorator

    def on_startup_primary(self, function):
        async def wrapper():
            if should_run_background_workers():
                await function()

        self.startup.append(wrapper)
        return function

    async def add_background_task(
        self, name, category="default", priority=TaskPriority.NORMAL, max_retries=0,
        run_at=None, delay_seconds=None, idempotency_key=None, *args, **kwargs,
    ):
        return await self.task_queue.add_task(
            name, category, priority, max_retries, *args,
            run_at=run_at, delay_seconds=delay_seconds, idempotency_key=idempotency_key,
            skip_worker_check=True, **kwargs,
        )

    async def start_task_workers(self, category="default", worker_count=1):
        await self.task_queue.start_workers(category, worker_count)

    async def view(self, task_id):
        info = await self.task_queue.get_task_info(task_id)
        return {
            "status": info.status.value,
            "priority": info.priority.value,
            "created_at": info.created_at.isoformat(),
            "result": info.result if info.is_completed else None,
        }

    def running(self):
        return [
            {"id": task_id, "name": info.name, "since": info.created_at.timestamp()}
            for task_id, info in self.task_queue.running_tasks.items()
        ]

    async def shutdown(self):
        await self.task_queue.shutdown()


app = App()


@app.task("send_email", category="notifications")
async def send_email(to, subject):
    assert [one["name"] for one in app.running()] == ["send_email"]
    return {"sent": True, "to": to}


@app.on_startup_primary
async def start():
    await app.start_task_workers("notifications", worker_count=2)


async def main():
    assert isinstance(TaskQueue(enabled=False).storage, NoopStorage)
    assert app.task_queue._storage is None
    for handler in app.startup:
        await handler()
    assert not app.task_queue.shutdown_event.is_set()
    task_id = await app.add_background_task(
        "send_email", "notifications", TaskPriority.HIGH, to="ada", subject="Hi"
    )
    while not (await app.task_queue.get_task_info(task_id)).is_completed:
        await asyncio.sleep(0.01)
    seen = await app.view(task_id)
    print(seen["status"], seen["priority"], seen["result"])
    stats = await app.task_queue.get_task_stats()
    print(stats["total"], stats["by_status"], stats["by_category"])
    await app.shutdown()
    await app.shutdown()
    assert app.task_queue.shutdown_event.is_set()
    print(TaskStorage().get_task(task_id).status is TaskStatus.SUCCESS)
    print(TaskStorage("other.duckdb").cleanup_old_tasks(days=7))


asyncio.run(main())
'''
MAIN = """
import sys

import wopr

for name in ("tasks", "tasks.queue", "tasks.models", "tasks.storage"):
    sys.modules[f"framework.{name}"] = wopr

import framework.app
"""


def test_an_application_object_works_with_wopr_in_the_place_of_its_task_package(
    tmp_path: Path,
) -> None:
    package = tmp_path / "framework"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "app.py").write_text(APP)
    program = f"import os; os.environ['WOPR_TASKS_ENABLED'] = '1'\n{MAIN}"
    said = run_ok([sys.executable, "-c", program], tmp_path).splitlines()
    assert [
        "success 3 {'sent': True, 'to': 'ada'}",
        "1 {'success': 1} {'notifications': 1}",
        "True",
        "0",
    ] == said


# -- add_task ----------------------------------------------------------------------------------


async def test_later_options_are_keywords_of_add_task(home: DuckDBHome) -> None:
    queue = home.queue()
    queue.register_task("f", "c")(lambda x=0: x)
    moment = datetime(2199, 1, 1, 9)
    async with running(queue):
        before = datetime.now(UTC)
        later = await queue.add_task("f", run_at=moment.replace(tzinfo=UTC), x=1)
        local = await queue.add_task("f", run_at=moment)
        delayed = await queue.add_task("f", delay_seconds=60, skip_worker_check=True)
        one = await queue.add_task("f", idempotency_key="k")
        assert one == await queue.add_task("f", idempotency_key="k", skip_worker_check=False)
        infos = [await queue.require_task_info(task_id) for task_id in (later, local, delayed, one)]
        plain = await queue.add_task("f", run_at=None, delay_seconds=None, idempotency_key=None)
        assert None is (await queue.require_task_info(plain)).run_at
        with pytest.raises(InvalidCallError, match="not both"):
            await queue.add_task("f", run_at=moment, delay_seconds=1)
    assert [moment.replace(tzinfo=UTC), moment.astimezone()] == [info.run_at for info in infos[:2]]
    assert infos[2].run_at is not None
    assert timedelta(seconds=59) < infos[2].run_at - before < timedelta(seconds=3_600)
    assert "k" == infos[3].unique_key
    assert [{"x": 1}, {}, {}, {}] == [info.kwargs for info in infos]


async def test_what_the_function_takes_is_its_own(home: DuckDBHome) -> None:
    queue = home.queue()

    @queue.register_task("remind", "c")
    def remind(run_at: str, idempotency_key: str = "") -> list[str]:
        return [run_at, idempotency_key]

    queue.register_task("any", "c")(lambda **kwargs: kwargs)
    async with running(queue, c=1):
        all_of_them = {"run_at": "noon", "delay_seconds": 1, "idempotency_key": "x"}
        task_id = await queue.add_task("any", **all_of_them)
        assert all_of_them == await queue.handle(task_id).result(timeout=PATIENCE)
        task_id = await queue.add_task("remind", run_at="noon", idempotency_key="x")
        assert ["noon", "x"] == await queue.handle(task_id).result(timeout=PATIENCE)
        assert (await queue.require_task_info(task_id)).unique_key is None


# -- the queue ---------------------------------------------------------------------------------


async def test_a_task_sees_that_the_queue_shuts_down(home: DuckDBHome) -> None:
    queue, gate = home.queue(), Gate()

    @queue.register_task("work", "c")
    async def work() -> str:
        await gate.wait()
        await queue.shutdown_event.wait()
        return "ended by itself"

    gate.open()
    await queue.start_workers("c")
    task_id = await queue.add_task("work")
    await gate.arrivals()
    assert not queue.shutdown_event.is_set()
    await queue.shutdown(timeout=PATIENCE)
    assert queue.shutdown_event.is_set()
    async with running(queue, c=1):
        assert not queue.shutdown_event.is_set()
        assert "ended by itself" == await queue.handle(task_id).result(timeout=PATIENCE)


def test_a_look_makes_no_storage(tmp_path: Path) -> None:
    made: list[str] = []

    def factory() -> Any:
        made.append("storage")
        return TaskStorage(tmp_path / "tasks.duckdb")

    queue = TaskQueue(enabled=True, storage_factory=factory)
    assert queue._storage is None
    assert [] == made
    storage = queue.storage
    assert queue._storage is storage
    assert ["storage"] == made
    assert TaskQueue(enabled=False)._storage is None


# -- the storage by itself -----------------------------------------------------------------------


async def test_a_task_storage_reads_and_cleans_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tasks.duckdb"
    lazy = TaskStorage(path)
    assert not path.exists()
    queue = TaskQueue(storage_factory=lambda: lazy, enabled=True)
    queue.register_task("f")(lambda: 5)
    async with running(queue, default=1):
        task_id = await queue.add_task("f")
        assert 5 == await queue.handle(task_id).result(timeout=PATIENCE)
    alone = TaskStorage(path)
    (info,) = alone.get_tasks(status=TaskStatus.SUCCESS)
    assert (task_id, 5) == (info.id, info.result)
    assert 0 == alone.cleanup_old_tasks(days=1)
    assert 1 == alone.cleanup_old_tasks(days=0)
    assert alone.get_task(task_id) is None
    await alone.close()


# -- which process -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "answer"),
    [
        ({}, True),
        ({"GRANIAN_WORKER_ID": "0"}, True),
        ({"GRANIAN_WORKER_ID": "1"}, False),
        ({"GUNICORN_WORKER_ID": "0"}, True),
        ({"GUNICORN_WORKER_ID": "3"}, False),
        ({"SERVER_SOFTWARE": "Gunicorn/23.0"}, False),
        ({"SERVER_SOFTWARE": "gunicorn/23.0", "GUNICORN_WORKER_ID": "0"}, True),
        ({"GRANIAN_WORKER_ID": "1", "WOPR_FORCE_WORKERS": "yes"}, True),
        ({"WOPR_FORCE_WORKERS": "0"}, False),
        ({"GOBSTOPPER_FORCE_WORKERS": "1", "WOPR_FORCE_WORKERS": "0"}, True),
    ],
    ids=str,
)
async def test_workers_are_for_the_first_of_several_processes(
    home: DuckDBHome, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], answer: bool
) -> None:
    for name in (
        "GOBSTOPPER_FORCE_WORKERS",
        "WOPR_FORCE_WORKERS",
        "GRANIAN_WORKER_ID",
        "GUNICORN_WORKER_ID",
        "SERVER_SOFTWARE",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert answer is should_run_background_workers()
    queue = home.queue()
    async with running(queue):
        await queue.start_workers("c", 1, skip_worker_check=False)
        assert int(answer) == len(queue.workers.get("c", []))
        await queue.start_workers("c", 1)
        assert int(answer) + 1 == len(queue.workers["c"])


def test_the_names_of_a_task_package_are_those_of_wopr() -> None:
    names = {"TaskStatus", "TaskPriority", "TaskInfo", "TaskStorage", "TaskQueue", "NoopStorage"}
    assert names | {"should_run_background_workers"} <= set(wopr.__all__)
