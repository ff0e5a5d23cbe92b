"""What Django's signals and results tell of a task is what its row tells."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

import integrations.django_settings as project
from integrations import django_shop as shop
from support.paths import ROOT
from support.programs import run
from support.queues import PATIENCE
from wopr import TaskPriority
from wopr.integrations.djangotasks import task_backends, task_enqueued, task_finished, task_started

sync = shop.double.get_backend().sync


@pytest.fixture(autouse=True)
def _workers() -> Iterator[None]:
    shop.seen.clear()
    sync(shop.queue.start_workers, "default", 2)
    yield
    sync.close()


@pytest.fixture
def told() -> Iterator[list[tuple[str, Any]]]:
    """Return the results that Django's signals tell, each with the signal's name."""
    told: list[tuple[str, Any]] = []
    receivers: list[tuple[Any, Callable[..., None]]] = []
    for name, signal in (
        ("enqueued", task_enqueued),
        ("started", task_started),
        ("finished", task_finished),
    ):

        def receive(sender: Any, task_result: Any, name: str = name, **_: Any) -> None:
            told.append((name, replace(task_result)))

        signal.connect(receive)
        receivers.append((signal, receive))
    yield told
    for signal, receive in receivers:
        signal.disconnect(receive)


def ended(result: Any) -> Any:
    """Return the result once its task has ended."""
    sync(shop.queue.wait, result.id, timeout=PATIENCE)
    result.refresh()
    return result


def finished(told: list[tuple[str, Any]], result: Any) -> list[str]:
    """Return the statuses that ``task_finished`` told of a result."""
    return [str(one.status) for name, one in told if (name, one.id) == ("finished", result.id)]


# -- signals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "error"),
    [
        (shop.unstorable, "PayloadError"),
        (shop.leave, "SystemExit"),
        (shop.hang, "TimeoutError"),
    ],
)
def test_the_signal_says_failed_for_a_row_that_is_failed(
    told: list[tuple[str, Any]], task: Any, error: str
) -> None:
    result = ended(task.enqueue())
    assert ["FAILED"] == finished(told, result) == [result.status]
    assert error == result.errors[0].exception_class.__name__


def test_the_signal_of_the_end_comes_once_after_the_last_attempt(
    told: list[tuple[str, Any]],
) -> None:
    result = ended(shop.second_time_lucky.enqueue())
    assert ["enqueued", "started", "started", "finished"] == [
        name for name, one in sorted(told, key=lambda one: one[1].attempts) if one.id == result.id
    ]
    assert ["SUCCESSFUL"] == finished(told, result)


def test_a_task_that_is_cancelled_before_it_starts_has_a_signal_of_its_end(
    told: list[tuple[str, Any]],
) -> None:
    later = shop.double.using(run_after=datetime(2199, 1, 1, tzinfo=UTC)).enqueue(1)
    sync(shop.queue.cancel_task, later.id)
    later.refresh()
    assert ["FAILED"] == finished(told, later)


def test_the_row_has_its_end_when_the_signal_comes(told: list[tuple[str, Any]]) -> None:
    looked: list[Any] = []

    def look(sender: Any, task_result: Any, **_: Any) -> None:
        looked.append(shop.double.get_backend().get_result(task_result.id))

    task_finished.connect(look)
    try:
        result = ended(shop.double.enqueue(4))
    finally:
        task_finished.disconnect(look)
    (signalled,) = [one for name, one in told if name == "finished"]
    assert looked == [result]
    assert signalled == replace(result)  # all fields but the value, which replace leaves out
    assert 8 == looked[0].return_value == result.return_value


def test_a_task_that_ends_while_the_queue_is_closed_has_its_signal(
    told: list[tuple[str, Any]],
) -> None:
    result = shop.outlast.enqueue()
    assert shop.begun.wait(PATIENCE)
    sync.close()  # which waits for it
    assert ["SUCCESSFUL"] == finished(told, result)
    result.refresh()
    assert result.id == result.return_value


def test_a_task_that_is_revoked_while_it_runs_has_a_signal_of_its_end(
    told: list[tuple[str, Any]],
) -> None:
    result = shop.hang.using(backend="default").enqueue()
    while "RUNNING" != result.status:
        result.refresh()
    sync(shop.queue.revoke, result.id)
    result.refresh()
    assert ("FAILED", ["FAILED"]) == (result.status, finished(told, result))


def test_the_log_of_a_failure_has_its_error(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("ERROR", logger=task_finished.__module__.rpartition(".")[0]):
        result = ended(shop.fail.enqueue("no stock"))
    (text,) = [record.exc_text for record in caplog.records if result.id in record.getMessage()]
    assert text is not None
    assert "ValueError: no stock" in text


# -- results --------------------------------------------------------------------------------


def test_a_result_was_enqueued_when_its_row_says_and_not_after_it_started() -> None:
    results = [shop.double.enqueue(number) for number in range(20)]
    given = [result.enqueued_at for result in results]
    for result in results:
        ended(result)
    assert given == [result.enqueued_at for result in results]
    assert given == [sync(shop.queue.require_task_info, one.id).created_at for one in results]
    assert all(result.enqueued_at <= result.started_at for result in results)


@pytest.mark.parametrize("number", [-100, -7, 0, 7, 51, 100])
@pytest.mark.parametrize("task", [shop.double, shop.send])
def test_the_task_of_a_result_is_the_one_that_was_enqueued(task: Any, number: int) -> None:
    moment = datetime(2199, 1, 1, 3, tzinfo=UTC) + timedelta(microseconds=7)
    called = task.using(priority=number, run_after=moment)
    result = called.enqueue(1)
    again = task.get_result(result.id)
    assert called == result.task == again.task
    assert result == again


def test_a_naive_time_comes_back_naive_where_django_is_told_so() -> None:
    with override_settings(USE_TZ=False):
        called = shop.double.using(run_after=datetime(2199, 1, 1, 9))
        assert called == shop.double.get_result(called.enqueue(1).id).task


def test_a_priority_that_wopr_was_told_itself_comes_back_as_one_of_djangos() -> None:
    name = shop.double.module_path
    handle = sync(shop.queue.enqueue, name, (1,), priority=TaskPriority.CRITICAL)
    assert 51 == shop.double.get_result(handle.id).task.priority


def test_a_result_is_there_though_the_settings_know_its_queue_no_more() -> None:
    result = shop.resize.enqueue("cat.png")
    tasks = {**project.TASKS, "open": {**project.TASKS["open"], "QUEUES": ["default"]}}
    with override_settings(TASKS=tasks):
        assert ["cat.png"] == shop.resize.get_backend().get_result(result.id).args


def test_the_context_tells_what_the_row_tells() -> None:
    result = ended(shop.show_context.enqueue("hi"))
    (seen,) = shop.seen
    assert ("RUNNING", ["hi"], result.enqueued_at, result.started_at, result.worker_ids) == (
        seen.status,
        seen.args,
        seen.enqueued_at,
        seen.started_at,
        seen.worker_ids,
    )


# -- options --------------------------------------------------------------------------------


def test_options_are_those_of_the_backend_that_enqueued() -> None:
    patient = shop.fail.using(backend="patient").enqueue("x")
    impatient = shop.second_time_lucky.using(backend="default").enqueue()
    assert ("FAILED", 2, "patient") == (
        ended(patient).status,
        patient.attempts,
        task_backends["default"].get_result(patient.id).backend,
    )
    assert ("FAILED", 1, "default") == (
        ended(impatient).status,
        impatient.attempts,
        task_backends["patient"].get_result(impatient.id).backend,
    )


def test_a_timeout_of_one_backend_is_none_of_another() -> None:
    assert "SUCCESSFUL" == ended(shop.double.using(backend="patient").enqueue(1)).status
    hanging = shop.hang.using(backend="default").enqueue()
    started = shop.hang.enqueue()
    assert "FAILED" == ended(started).status
    hanging.refresh()
    assert hanging.status in {"READY", "RUNNING"}
    sync(shop.queue.cancel_task, hanging.id)


def test_a_worker_knows_the_calls_of_all_backends_before_any_was_made() -> None:
    names = {name for name in shop.queue.task_functions if ".resize" in name}
    path = shop.resize.module_path
    others = set(project.TASKS) - {"open"}
    assert {path, *(f"{path}@{alias}" for alias in others)} == names


# -- other processes --------------------------------------------------------------------------


def test_a_backend_may_run_its_tasks_in_processes_of_their_own(
    told: list[tuple[str, Any]],
) -> None:
    result = ended(shop.process_id.enqueue("x"))
    assert [] == result.errors
    assert "x" == result.return_value["wanted"]
    assert os.getpid() != result.return_value["pid"]
    assert ["SUCCESSFUL"] == finished(told, result)
    other = ended(shop.double.using(backend="apart").enqueue(2))
    assert (4, "apart") == (other.return_value, other.backend)


def test_a_context_in_a_process_of_its_own_tells_what_the_row_tells() -> None:
    result = ended(shop.tell_apart.enqueue())
    assert [] == result.errors
    assert os.getpid() != result.return_value[0]
    assert [result.id, 1, result.enqueued_at.isoformat()] == result.return_value[1:]


PROGRAM = """
import os
from django.conf import settings

settings.configure(
    TASKS={
        "default": {
            "BACKEND": "wopr.integrations.django.WoprBackend",
            "OPTIONS": {"queue": "__main__:queue", "executor": "process"},
        }
    }
)

import django
django.setup()

try:
    from django.tasks import default_task_backend, task
except ImportError:
    from django_tasks import default_task_backend, task

from wopr import TaskQueue

queue = TaskQueue(enabled=True, database="tasks.duckdb")

@task
def where():
    return os.getpid()

if __name__ == "__main__":
    sync = default_task_backend.sync
    sync(queue.start_workers)
    result = where.enqueue()
    sync(queue.wait, result.id, timeout=60)
    result.refresh()
    print(result.status, result.return_value != os.getpid())
"""


def test_a_program_in_one_file_may_run_its_tasks_in_processes_and_ends(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = run([sys.executable, "program.py"], tmp_path)
    assert (0, "SUCCESSFUL True\n", "") == (done.returncode, done.stdout, done.stderr)


# -- Django's own tests -----------------------------------------------------------------------


@pytest.mark.skipif(
    "DJANGO_SOURCE" not in os.environ or not project.BUILT_IN,
    reason="wants Django 6 and its sources: DJANGO_SOURCE names their folder",
)
def test_djangos_own_tests_pass(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "django_suite.py"
    done = run([sys.executable, script, os.environ["DJANGO_SOURCE"]], tmp_path)
    assert 0 == done.returncode, done.stderr
