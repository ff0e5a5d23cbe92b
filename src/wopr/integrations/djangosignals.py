"""What Django's signals tell of a queue's tasks: that they start, and how their rows have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from threading import Lock
from typing import Any
from weakref import WeakSet

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.dispatch import Signal

from wopr.domain.errors import TaskFailedError
from wopr.domain.events import TaskEvent
from wopr.executors.context import CurrentTask
from wopr.integrations.djangotasks import (
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    known,
    look_up,
    running,
    task_finished,
    task_started,
)
from wopr.queue.queue import TaskQueue

PATIENCE_SECONDS = 1.0
"""So long a look at a result waits for receivers of its signal."""

_sending: dict[str, asyncio.Future[None]] = {}
_inside: ContextVar[bool] = ContextVar("wopr_django_signal", default=False)
"""Whether the caller is a receiver of a signal."""
_told: WeakSet[TaskQueue] = WeakSet()
_lock = Lock()


def tell_signals(queue: TaskQueue) -> None:
    """Tell Django's signals what happens to Django's tasks of a queue. Idempotent.

    They are sent in the process that has the workers, whatever runs the functions: before the
    function of each attempt is called, and once the row has ended, which is on disk by then.
    """
    with _lock:
        if queue in _told:
            return
        _told.add(queue)

    async def started(task: CurrentTask, call_next: Callable[[], Awaitable[Any]]) -> Any:
        if task.name in known:
            result = await look_up(queue, task.id, known[task.name].alias)
            running.set(result)
            await sync_to_async(_tell, thread_sensitive=False)(task_started, result)
        return await call_next()

    def ended(event: TaskEvent) -> Awaitable[None] | None:
        if event.name not in known:
            return None
        sending = asyncio.ensure_future(_told_end(queue, event.name, event.task_id))
        _sending[event.task_id] = sending
        sending.add_done_callback(lambda _: _sending.pop(event.task_id, None))
        return sending

    queue.middleware(started)
    for kind in ("task.succeeded", "task.failed", "task.cancelled"):
        queue.on(kind, ended)


async def signals_sent(task_id: str) -> None:
    """Wait until the signal of a row's end was sent, if that is under way in this process.

    Not for ever: a receiver may ask for the result itself.
    """
    sending = _sending.get(task_id)
    if sending is not None:
        await asyncio.wait({sending}, timeout=0 if _inside.get() else PATIENCE_SECONDS)


async def _told_end(queue: TaskQueue, name: str, task_id: str) -> None:
    try:
        result = await look_up(queue, task_id, known[name].alias)
    except TaskResultDoesNotExist:  # cleaned up meanwhile
        return
    if result.is_finished:  # it may be back in its queue by hand
        await sync_to_async(_tell, thread_sensitive=False)(task_finished, result)


def _tell(signal: Signal, result: TaskResult) -> None:
    """Send a signal; of a task that failed while its error is being handled, as Django does."""
    _inside.set(True)  # in a context of its own: that of the thread
    sender = type(result.task.get_backend())
    close_old_connections()
    try:
        if result.status == TaskResultStatus.FAILED and result.errors:
            _tell_failure(signal, sender, result)
        else:
            signal.send(sender, task_result=result)
    finally:
        close_old_connections()


def _tell_failure(signal: Signal, sender: type, result: TaskResult) -> None:
    try:
        error = result.errors[-1]
        raise TaskFailedError(error.traceback or error.exception_class_path)
    except TaskFailedError:
        signal.send(sender, task_result=result)
