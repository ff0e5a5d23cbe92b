"""A queue in Flask: views call it as if it were not asynchronous."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app

from support.programs import run
from support.queues import PATIENCE
from wopr import InvalidCallError, TaskQueue
from wopr.integrations.flask import WoprFlask
from wopr.queue.queue import inside


def app_of(wopr: WoprFlask) -> Flask:
    app = Flask("shop")
    wopr.init_app(app)

    @app.post("/double/<int:number>")
    def double(number: int) -> str:
        handle = wopr(wopr.queue.enqueue, "double", (number,))
        return handle.id

    @app.get("/tasks/<task_id>")
    def result(task_id: str) -> str:
        handle = wopr.queue.handle(task_id)
        return str(wopr(handle.result, timeout=PATIENCE))

    @app.get("/status/<task_id>")
    def status(task_id: str) -> str:
        return str(current_app.extensions["wopr"](wopr.queue.handle(task_id).status))

    return app


@pytest.fixture
def wopr(queue: TaskQueue) -> Iterator[WoprFlask]:
    wopr = WoprFlask(None, queue, workers={"sums": 2, "none": 0})
    yield wopr
    wopr.close()


def test_a_request_enqueues_and_another_reads_the_result(wopr: WoprFlask) -> None:
    client = app_of(wopr).test_client()
    task_id = client.post("/double/21").text
    assert "42" == client.get(f"/tasks/{task_id}").text


def test_requests_of_many_threads_share_one_queue(wopr: WoprFlask) -> None:
    app = app_of(wopr)

    def one(number: int) -> str:
        client = app.test_client()
        return client.get(f"/tasks/{client.post(f'/double/{number}').text}").text

    with ThreadPoolExecutor(8) as threads:
        assert [str(2 * n) for n in range(24)] == list(threads.map(one, range(24)))
    assert {"sums": 2} == {name: len(slots) for name, slots in wopr.queue.workers.items()}


def test_workers_start_before_the_first_request_is_answered(wopr: WoprFlask) -> None:
    app = app_of(wopr)
    app.get("/hello")(lambda: "hello")
    assert {} == wopr.queue.workers
    app.test_client().get("/hello")
    assert ["sums"] == list(wopr.queue.workers)


def test_workers_start_when_told_to(wopr: WoprFlask) -> None:
    wopr.start()
    assert ["sums"] == list(wopr.queue.workers)


def test_nothing_starts_before_the_first_use(queue: TaskQueue) -> None:
    app = app_of(WoprFlask(None, queue))
    app.get("/hello")(lambda: "hello")
    app.test_client().get("/hello")
    assert not queue.database.exists()
    assert [] == [one.name for one in threading.enumerate() if one.name == "wopr-loop"]


def test_without_workers_it_only_enqueues(queue: TaskQueue) -> None:
    wopr = WoprFlask(None, queue)
    client = app_of(wopr).test_client()
    task_id = client.post("/double/21").text
    assert "pending" == client.get(f"/status/{task_id}").text
    wopr.close()


def test_it_is_closed_any_number_of_times_and_starts_again(wopr: WoprFlask) -> None:
    client = app_of(wopr).test_client()
    for number in (1, 2):
        task_id = client.post(f"/double/{number}").text
        assert str(2 * number) == client.get(f"/tasks/{task_id}").text
        wopr.close()
        wopr.close()
        assert not inside(wopr.queue).access.open


def test_workers_that_can_not_start_leave_nothing_behind(queue: TaskQueue) -> None:
    wopr = WoprFlask(Flask("shop"), queue, workers={"": 1})
    for _ in range(2):
        with pytest.raises(InvalidCallError, match="category must have 1 to"):
            wopr.start()
    assert [] == [one.name for one in threading.enumerate() if one.name == "wopr-loop"]


def test_workers_and_queues_that_can_not_be_are_refused_when_it_is_built(queue: TaskQueue) -> None:
    wrong: Any = 4
    with pytest.raises(InvalidCallError, match="workers is a dict of category to number"):
        WoprFlask(None, queue, workers=wrong)
    with pytest.raises(InvalidCallError, match="queue must be a TaskQueue, not 4"):
        WoprFlask(None, wrong)


def test_workers_that_have_nothing_to_do_are_warned_of(
    queue: TaskQueue, caplog: pytest.LogCaptureFixture
) -> None:
    wopr = WoprFlask(None, queue, workers={"sum": 1})
    wopr.start()
    wopr.close()
    assert "No task is registered in category 'sum': its workers" in caplog.text


PROGRAM = """
from flask import Flask
from wopr import TaskQueue
from wopr.integrations.flask import WoprFlask

app = Flask("shop")
queue = TaskQueue(enabled=True, database="tasks.duckdb")
wopr = WoprFlask(app, queue, workers=WORKERS)

@queue.task
def greet(name):
    return "hello " + name

@app.get("/")
def root():
    return wopr(wopr(greet.enqueue, "Ada").result, timeout=60)

@app.get("/later")
def later():
    return wopr(wopr(greet.enqueue, "Ada").status)

print(app.test_client().get(PATH).text)
"""


@pytest.mark.parametrize(
    ("workers", "path", "answer"),
    [({"default": 1}, "/", "hello Ada"), ({}, "/later", "pending")],
)
def test_a_program_that_ends_shuts_the_queue_down(
    tmp_path: Path, workers: dict[str, int], path: str, answer: str
) -> None:
    program = PROGRAM.replace("WORKERS", repr(workers)).replace("PATH", repr(path))
    done = run([sys.executable, "-W", "error", "-c", program], tmp_path)
    assert (0, f"{answer}\n", "") == (done.returncode, done.stdout, done.stderr)
    assert "" == (tmp_path / "tasks.duckdb.lock").read_text()  # nobody owns it
