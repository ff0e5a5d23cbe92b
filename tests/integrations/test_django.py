"""Django's tasks on a wopr queue, with Django 6 or the package that its tasks come from."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings

import integrations.django_settings as project
from integrations import django_shop as shop
from support.programs import run
from support.queues import PATIENCE
from wopr import InvalidCallError, QueueClosedError, TaskPriority
from wopr.calls.options import TASK_OPTIONS
from wopr.integrations import django as backends
from wopr.integrations.djangotasks import (
    TaskResultDoesNotExist,
    task_enqueued,
    task_finished,
    task_started,
)

sync = shop.double.get_backend().sync


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Leave no thread of the queue behind."""
    shop.seen.clear()
    yield
    sync.close()


@pytest.fixture
def workers() -> None:
    """Run tasks in this process."""
    sync(shop.queue.start_workers, "default", 2)
    sync(shop.queue.start_workers, "mail", 1)


def ended(result: Any) -> Any:
    """Return the result once its task has ended."""
    sync(shop.queue.wait, result.id, timeout=PATIENCE)
    result.refresh()
    return result


@pytest.fixture
def signals() -> Iterator[list[tuple[str, str, str]]]:
    """Return what Django's signals tell: which one, the id, the status."""
    told: list[tuple[str, str, str]] = []
    receivers: list[tuple[Any, Callable[..., None]]] = []
    for name, signal in (
        ("enqueued", task_enqueued),
        ("started", task_started),
        ("finished", task_finished),
    ):

        def receive(sender: Any, task_result: Any, name: str = name, **_: Any) -> None:
            assert sender is backends.WoprBackend
            told.append((name, task_result.id, str(task_result.status)))

        signal.connect(receive)
        receivers.append((signal, receive))
    yield told
    for signal, receive in receivers:
        signal.disconnect(receive)


# -- enqueue, run, look --------------------------------------------------------------


def test_it_is_the_backend_of_the_project() -> None:
    backend = shop.double.get_backend()
    assert isinstance(backend, backends.WoprBackend)
    assert (True, True, True, True) == (
        backend.supports_defer,
        backend.supports_async_task,
        backend.supports_get_result,
        backend.supports_priority,
    )


@pytest.mark.usefixtures("workers")
def test_a_request_enqueues_and_another_reads_the_result() -> None:
    client = Client()
    task_id = client.get("/start/21").json()["id"]
    sync(shop.queue.wait, task_id, timeout=PATIENCE)
    answer = {"status": "SUCCESSFUL", "value": 42}
    assert answer == client.get(f"/end/{task_id}").json()


def test_what_is_enqueued_is_ready() -> None:
    result = shop.double.enqueue(21)
    assert ("READY", False, [21], {}) == (
        result.status,
        result.is_finished,
        result.args,
        result.kwargs,
    )
    again = shop.double.get_result(result.id)
    assert ("READY", [21], "default", shop.double.func) == (
        again.status,
        again.args,
        again.backend,
        again.task.func,
    )
    with pytest.raises(ValueError, match="has not finished"):
        _ = again.return_value


@pytest.mark.usefixtures("workers")
def test_a_result_tells_when_and_where_it_ran() -> None:
    result = ended(shop.double.enqueue(21))
    assert 42 == result.return_value
    assert result.enqueued_at <= result.started_at <= result.finished_at
    assert result.started_at == result.last_attempted_at
    assert 1 == result.attempts == len(result.worker_ids)
    assert [] == result.errors
    assert result.enqueued_at.utcoffset() is not None


@pytest.mark.usefixtures("workers")
def test_times_are_naive_where_django_is_told_so() -> None:
    result = ended(shop.double.enqueue(21))
    aware = result.finished_at
    with override_settings(USE_TZ=False):
        result.refresh()
    assert result.finished_at == (aware + timedelta(hours=9)).replace(tzinfo=None)


@pytest.mark.usefixtures("workers")
def test_a_coroutine_function_runs() -> None:
    assert ["ada", "hi"] == ended(shop.send.enqueue("ada", subject="hi")).return_value


@pytest.mark.usefixtures("workers")
async def test_it_may_be_awaited() -> None:
    result = await shop.send.aenqueue("ada")
    await asyncio.to_thread(ended, result)
    assert ["ada", ""] == (await shop.send.aget_result(result.id)).return_value
    await result.arefresh()
    assert result.is_finished


@pytest.mark.usefixtures("workers")
def test_a_failure_is_kept_with_its_traceback() -> None:
    result = ended(shop.fail.enqueue("no stock"))
    assert "FAILED" == result.status
    (error,) = result.errors
    assert error.exception_class is ValueError
    assert "no stock" in error.traceback
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


@pytest.mark.usefixtures("workers")
def test_a_coroutine_function_may_fail() -> None:
    result = ended(shop.fail_later.enqueue())
    assert [LookupError] == [error.exception_class for error in result.errors]


@pytest.mark.usefixtures("workers")
def test_a_context_is_handed_to_those_who_take_it() -> None:
    result = ended(shop.tell.enqueue(word="hi"))
    assert [1, result.id, "hi"] == result.return_value


@pytest.mark.usefixtures("workers")
def test_options_of_the_backend_are_those_of_its_tasks() -> None:
    result = ended(shop.second_time_lucky.enqueue())
    assert (2, 2) == (result.return_value, result.attempts)
    assert [OSError] == [error.exception_class for error in result.errors]
    assert "patient" == result.backend


def test_a_cancelled_task_has_failed() -> None:
    result = shop.double.enqueue(1)
    sync(shop.queue.cancel_task, result.id)
    result.refresh()
    assert ("FAILED", ["TaskCancelledError"]) == (
        result.status,
        [error.exception_class.__name__ for error in result.errors],
    )


@pytest.mark.usefixtures("workers")
def test_values_are_those_of_json() -> None:
    assert "list" == ended(shop.look.enqueue((1, 2))).return_value
    assert [[1, 2]] == shop.seen


@pytest.mark.usefixtures("workers")
def test_a_task_may_enqueue_another() -> None:
    inner = ended(shop.chained.enqueue(4)).return_value
    assert 8 == ended(shop.double.get_result(inner)).return_value


async def test_a_task_may_enqueue_another_where_the_queue_is_open_on_the_workers_own_loop() -> None:
    async with shop.queue:  # as in `wopr worker`
        await shop.queue.start_workers("default", 2)
        for task in (shop.chained, shop.chained_later):
            outer = await task.aenqueue(4)
            inner = (await shop.queue.wait(outer.id, timeout=PATIENCE)).result
            assert 8 == (await shop.queue.wait(inner, timeout=PATIENCE)).result


# -- what the queue is told ------------------------------------------------------------


def test_a_task_is_known_by_its_path_and_waits_in_the_category_of_its_queue_name() -> None:
    result = shop.send.enqueue("ada")
    info = sync(shop.queue.require_task_info, result.id)
    assert ("integrations.django_shop.send", "mail", TaskPriority.CRITICAL) == (
        info.name,
        info.category,
        info.priority,
    )
    assert "mail" == shop.send.get_result(result.id).task.queue_name


@pytest.mark.parametrize(
    ("number", "priority"),
    [
        (-100, TaskPriority.LOW),
        (-1, TaskPriority.LOW),
        (0, TaskPriority.NORMAL),
        (1, TaskPriority.HIGH),
        (50, TaskPriority.HIGH),
        (51, TaskPriority.CRITICAL),
        (100, TaskPriority.CRITICAL),
    ],
)
def test_priorities_from_minus_100_to_100_are_four(number: int, priority: TaskPriority) -> None:
    result = shop.double.using(priority=number).enqueue(1)
    assert priority == sync(shop.queue.require_task_info, result.id).priority


@pytest.mark.usefixtures("workers")
def test_a_task_runs_after_its_time() -> None:
    moment = datetime(2199, 1, 1, tzinfo=UTC)
    result = shop.double.using(run_after=moment).enqueue(1)
    info = sync(shop.queue.require_task_info, result.id)
    assert moment == info.run_at
    assert "delayed" == sync(shop.queue.explain, result.id).reason


def test_a_naive_time_is_local_where_django_is_told_so() -> None:
    with override_settings(USE_TZ=False):
        result = shop.double.using(run_after=datetime(2199, 1, 1, 9)).enqueue(1)
    info = sync(shop.queue.require_task_info, result.id)
    assert datetime(2199, 1, 1, tzinfo=UTC) == info.run_at


@pytest.mark.usefixtures("workers")
def test_signals_tell_what_happens(signals: list[tuple[str, str, str]]) -> None:
    for one in (shop.double.enqueue(1), shop.send.enqueue("ada"), shop.fail.enqueue("x")):
        ended(one)
        outcome = "FAILED" if one.task == shop.fail else "SUCCESSFUL"
        assert [
            ("enqueued", one.id, "READY"),
            ("finished", one.id, outcome),
            ("started", one.id, "RUNNING"),
        ] == sorted(told for told in signals if told[1] == one.id)


# -- what is refused ---------------------------------------------------------------------


def test_arguments_that_do_not_fit_are_refused_at_once() -> None:
    with pytest.raises(InvalidCallError, match=r"django_shop\.double can't be called so"):
        shop.double.enqueue(1, 2)


def test_an_argument_that_json_has_no_form_for_is_refused_before_anything_is_written() -> None:
    before = sync(shop.queue.get_task_stats)["total"]
    with pytest.raises(TypeError):
        shop.look.enqueue(object())
    assert before == sync(shop.queue.get_task_stats)["total"]


async def test_a_call_from_the_queues_own_loop_is_refused_instead_of_waiting_for_ever() -> None:
    async def inside() -> None:
        shop.double.enqueue(1)

    with pytest.raises(QueueClosedError, match="can't wait for that loop"):
        await asyncio.to_thread(sync, inside)


@pytest.mark.parametrize("unknown", ["nothing", "01890a5d-ac96-774b-bcce-b302099a8057"])
def test_an_unknown_result_does_not_exist(unknown: str) -> None:
    with pytest.raises(TaskResultDoesNotExist):
        shop.double.get_backend().get_result(unknown)


@pytest.mark.parametrize("name", ["native", "os.path.join", "integrations.django_shop.gone"])
def test_a_task_that_is_not_djangos_has_no_result_for_django(name: str) -> None:
    shop.queue.task(name=name)(lambda: None)
    handle = sync(shop.queue.enqueue, name)
    with pytest.raises(TaskResultDoesNotExist, match=name):
        shop.double.get_backend().get_result(handle.id)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (None, "which is no TaskQueue but None"),
        ("shop.queue", "which is no TaskQueue but None"),
        ("integrations.django_shop:double", "which is no TaskQueue but Task"),
        ("integrations.django_shop:nothing", "put the queue above them"),
        (":queue", "which is no TaskQueue but None"),
        ("no_shop.queue:queue", r"no_shop\.queue can't be imported: No module named 'no_shop'"),
    ],
)
def test_a_setting_that_names_no_queue_is_refused(target: str | None, text: str) -> None:
    params = {"OPTIONS": {"queue": target}}
    backend = backends.WoprBackend("default", params)
    with pytest.raises(ImproperlyConfigured, match=text):
        _ = backend.queue
    assert ["wopr.E001"] == [message.id for message in backend.check()]


def test_an_option_that_is_not_known_is_refused() -> None:
    params = {"OPTIONS": {"queue": project.QUEUE, "max_retry": 3}}
    backend = backends.WoprBackend("default", params)
    with pytest.raises(ImproperlyConfigured, match=r"has 'max_retry'.+queue, max_retries, retry"):
        _ = backend.queue
    assert ["wopr.E001"] == [message.id for message in backend.check()]


def test_the_options_are_those_that_register_task_has() -> None:
    its_own = ("queue", "max_retries", "retry", "timeout", "retain", "soft_timeout")
    its_own += ("limit", "rate", "key", "executor")
    assert its_own == backends.OPTIONS
    assert set(its_own) - {"queue"} == TASK_OPTIONS - {"category", "priority"}


def test_without_names_in_the_setting_any_queue_name_will_do() -> None:
    result = shop.resize.enqueue("cat.png")
    assert "images" == sync(shop.queue.require_task_info, result.id).category


def test_djangos_system_checks_find_nothing_to_complain_about() -> None:
    if not project.BUILT_IN:
        assert [] == list(shop.double.get_backend().check())
    assert [] == [message for message in run_checks() if str(message.id).startswith("wopr.")]


# -- at the end --------------------------------------------------------------------------

PROGRAM = """
from django.conf import settings

settings.configure(
    TASKS={
        "default": {
            "BACKEND": "wopr.integrations.django.WoprBackend",
            "OPTIONS": {"queue": "__main__:queue"},
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
sync = default_task_backend.sync

@task
def greet(name):
    return "hello " + name

for _ in range(TIMES):  # closed in between, it opens the file again
    sync.close()
    sync(queue.start_workers)
    result = greet.enqueue("Ada")
    sync(queue.wait, result.id, timeout=60)
    result.refresh()
    print(result.return_value)
"""


@pytest.mark.parametrize("times", [1, 2])
def test_a_program_that_ends_shuts_the_queue_down(tmp_path: Path, times: int) -> None:
    done = run([sys.executable, "-c", PROGRAM.replace("TIMES", str(times))], tmp_path)
    assert (0, "hello Ada\n" * times, "") == (done.returncode, done.stdout, done.stderr)
    assert "" == (tmp_path / "tasks.duckdb.lock").read_text()  # nobody owns it
