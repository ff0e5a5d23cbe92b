"""What a worker does with Django's tasks: which it takes, in which order, and which never."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from integrations import django_shop as shop
from support.queues import PATIENCE
from wopr.integrations.djangotasks import TaskResultDoesNotExist

sync = shop.double.get_backend().sync


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Leave nothing that waits, and no thread of the queue behind."""
    shop.seen.clear()
    yield
    for info in sync(shop.queue.get_tasks, limit=1_000):
        sync(shop.queue.cancel_task, info.id)
    sync.close()


def ended(result: Any) -> str:
    """Return the status of a result once its task has ended."""
    sync(shop.queue.wait, result.id, timeout=PATIENCE)
    result.refresh()
    return str(result.status)


def test_a_queue_without_workers_waits_while_others_are_worked_on() -> None:
    first = shop.double.using(queue_name="mail").enqueue(1)
    second = shop.double.enqueue(2)

    sync(shop.queue.start_workers, "default", 1)
    assert "SUCCESSFUL" == ended(second)
    first.refresh()
    assert "READY" == first.status
    assert "no workers" == sync(shop.queue.explain, first.id).reason

    sync(shop.queue.start_workers, "mail", 1)
    assert "SUCCESSFUL" == ended(first)


def test_what_is_more_urgent_comes_first_and_nothing_before_its_time() -> None:
    later = datetime(2199, 1, 1, tzinfo=UTC)
    waits = shop.look.using(priority=100, run_after=later).enqueue("never")
    results = [shop.look.using(priority=number).enqueue(number) for number in (-100, 0, 10, 100)]

    sync(shop.queue.start_workers, "default", 1)
    assert {"SUCCESSFUL"} == {ended(result) for result in results}

    assert [100, 10, 0, -100] == shop.seen
    waits.refresh()
    assert "READY" == waits.status


def test_a_result_is_what_it_was_until_it_is_refreshed() -> None:
    result = shop.double.enqueue(21)
    sync(shop.queue.start_workers, "default", 1)
    sync(shop.queue.wait, result.id, timeout=PATIENCE)

    assert ("READY", None, None) == (result.status, result.started_at, result.finished_at)
    result.refresh()
    assert ("SUCCESSFUL", 42) == (result.status, result.return_value)
    assert result.enqueued_at <= result.started_at <= result.finished_at


def test_a_result_that_was_cleaned_up_exists_no_more_and_what_waits_is_left() -> None:
    waits = shop.double.using(queue_name="mail").enqueue(1)
    done, failed = shop.double.enqueue(2), shop.fail.enqueue("no")
    sync(shop.queue.start_workers, "default", 1)
    assert ["SUCCESSFUL", "FAILED"] == [ended(done), ended(failed)]

    assert 0 == sync(shop.queue.cleanup_old_tasks, days=1)
    for one in (waits, done, failed):
        one.refresh()
    sync(shop.queue.cleanup_old_tasks, days=0)

    waits.refresh()
    assert "READY" == waits.status
    for gone in (done, failed):
        with pytest.raises(TaskResultDoesNotExist):
            gone.refresh()
        with pytest.raises(TaskResultDoesNotExist):
            gone.task.get_result(gone.id)


def test_a_worker_goes_on_after_whatever_a_task_raises() -> None:
    results = [
        shop.fail.enqueue("no"),
        shop.leave.enqueue(),
        shop.unstorable.enqueue(),
        shop.double.enqueue(1),
    ]
    sync(shop.queue.start_workers, "default", 1)

    assert ["FAILED", "FAILED", "FAILED", "SUCCESSFUL"] == [ended(result) for result in results]
    kinds = [result.errors[-1].exception_class_path for result in results[:3]]
    assert ["builtins.ValueError", "builtins.SystemExit"] == kinds[:2]
    assert kinds[2].endswith("PayloadError")


@pytest.mark.parametrize("path", ["subprocess.check_output", "missing.function"])
def test_a_path_in_a_row_that_is_no_task_is_not_called(path: str) -> None:
    """The name of a row is looked up among what is registered, and never imported."""
    shop.queue.task(name=path)(lambda command: None)
    handle = sync(shop.queue.enqueue, path, (["touch", "x"],))
    shop.queue._core.registry.definitions.pop(path)

    sync(shop.queue.start_workers, "default", 1)

    assert "SUCCESSFUL" == ended(shop.double.enqueue(1))
    assert "unregistered" == sync(shop.queue.explain, handle.id).reason
