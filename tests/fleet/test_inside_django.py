"""Tasks in the transactions of a Django project, whose connections belong to threads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connections, transaction
from django.utils.connection import ConnectionProxy

from integrations import django_settings
from support.queues import PATIENCE, PostgresHome
from wopr import InvalidCallError, TaskQueue
from wopr.queue.sync import SyncQueue

ALIAS = "queue"
assert django_settings.settings.configured


@pytest.fixture
def sync(shared: PostgresHome) -> Iterator[SyncQueue]:
    """Return the bridge to a queue on the database that Django knows as ``queue``."""
    where = urlsplit(shared.address)
    connections.databases[ALIAS] = connections.databases["default"] | {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": where.path[1:],
        "USER": "wopr",
        "HOST": parse_qs(where.query)["host"][0],
    }
    queue: TaskQueue = shared.queue()

    @queue.task(name="double")
    async def double(number: int) -> int:
        return 2 * number

    with queue.sync() as sync:
        sync(queue.start_workers, "default", 1)
        yield sync
    connections[ALIAS].close()
    del connections[ALIAS]


def enqueue(sync: SyncQueue, number: int, connection: object) -> Any:
    """Enqueue from code without an event loop, as Django's is."""
    queue: Any = sync._queue
    return sync(queue.enqueue, "double", (number,), connection=connection)


class UndoneError(Exception):
    """Rolls back."""


def test_an_atomic_block_has_its_tasks(sync: SyncQueue) -> None:
    queue: Any = sync._queue
    proxy = ConnectionProxy(connections, ALIAS)  # as django.db.connection is for "default"
    with contextlib.suppress(UndoneError), transaction.atomic(using=ALIAS):
        gone = enqueue(sync, 1, proxy)
        raise UndoneError
    with transaction.atomic(using=ALIAS):
        kept = enqueue(sync, 2, proxy)
        with contextlib.suppress(UndoneError), transaction.atomic(using=ALIAS):
            enqueue(sync, 3, connections[ALIAS])
            raise UndoneError
        assert sync(queue.get_task_info, kept.id) is None
    assert 4 == sync(kept.result, timeout=PATIENCE)
    assert sync(queue.get_task_info, gone.id) is None
    assert 1 == sync(queue.get_task_stats)["total"]


def test_without_an_atomic_block_it_is_refused(sync: SyncQueue) -> None:
    with pytest.raises(InvalidCallError, match=r"transaction\.atomic"):
        enqueue(sync, 1, connections[ALIAS])
    connections[ALIAS].ensure_connection()
    with pytest.raises(InvalidCallError, match=r"transaction\.atomic"):
        enqueue(sync, 1, connections[ALIAS])


def test_another_kind_of_database_is_sent_to_the_outbox(sync: SyncQueue) -> None:
    with pytest.raises(InvalidCallError, match="on sqlite"):
        enqueue(sync, 1, connections["default"])
