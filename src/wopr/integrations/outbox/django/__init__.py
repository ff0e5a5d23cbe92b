"""An outbox in the database of a Django project.

::

    INSTALLED_APPS += ["wopr.integrations.outbox.django"]   # then: manage.py migrate

    outbox = Outbox(queue)

    with transaction.atomic():
        order.save()
        outbox.enqueue(send_mail, (order.email,))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, Unpack

from django.conf import settings
from django.db import transaction

from wopr.calls.options import Options
from wopr.core.task import Task
from wopr.integrations.outbox.base import OutboxBase, checked_queue
from wopr.integrations.outbox.django.tables import DjangoRows, model
from wopr.queue.queue import TaskQueue


class Outbox(OutboxBase):
    """Enqueues tasks in the transactions of a Django project.

    Args:
        queue: where the tasks go. It moves the rows as long as it has workers.
        using: the database with the table, as ``DATABASES`` names it.

    Raises:
        InvalidCallError: it is no queue.
    """

    def __init__(self, queue: TaskQueue, using: str = "default") -> None:
        self._using = using
        super().__init__(checked_queue(queue), DjangoRows(using))

    def enqueue(
        self,
        task: str | Task[..., Any] | Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> str:
        """Enqueue a task when, and only when, the transaction of the database is committed.

        Outside of a transaction it is committed at once. It blocks, as the ORM does.

        Args:
            task: registered in this process, or its name; or one of Django's tasks whose
                backend is :class:`wopr.integrations.django.WoprBackend`: its priority, queue and
                ``run_after`` count.
            args: positional arguments of the function.
            kwargs: keyword arguments of the function.
            **options: as in :meth:`wopr.Task.options`; spans count from now.

        Returns:
            The id of the task, for ``queue.handle`` or ``get_result``. The queue knows it once
            it was moved.

        Raises:
            QueueDisabledError: the queue is switched off.
            TaskNotRegisteredError: nothing has this name.
            InvalidCallError: a value or an argument is wrong; nothing was written.
        """
        given: dict[str, Any] = dict(options)
        if hasattr(task, "module_path"):  # one of Django's
            from wopr.integrations.django import call_of

            task, of_task = call_of(task, self._core, args, kwargs or {})
            given = {**of_task, **given}
        values = self._row(task, args, kwargs, given)
        if settings.USE_TZ:
            values["created_at"] = values["created_at"].replace(tzinfo=UTC)
        model().objects.using(self._using).create(**values)
        transaction.on_commit(self._mover.wake, using=self._using)
        return str(values["id"])
