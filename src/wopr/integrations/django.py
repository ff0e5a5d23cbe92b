"""Django's tasks on a wopr queue: a backend for the setting ``TASKS``.

For Django 6, and for ``django-tasks`` on Django 5::

    TASKS = {
        "default": {
            "BACKEND": "wopr.integrations.django.WoprBackend",
            "OPTIONS": {"queue": "shop.queue:queue"},
        }
    }
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from wopr.calls.options import Options, RegistrationOptions
from wopr.core.core import Core
from wopr.core.handle import TaskHandle
from wopr.domain.errors import InvalidCallError
from wopr.integrations.djangoruns import runner_of
from wopr.integrations.djangosignals import signals_sent, tell_signals
from wopr.integrations.djangotasks import (
    BaseTaskBackend,
    CallCarrier,
    Declared,
    Task,
    TaskResult,
    TaskResultDoesNotExist,
    aware,
    known,
    local,
    look_up,
    new_result,
    priority_of,
    set_fields,
    task_backends,
    task_enqueued,
)
from wopr.integrations.serving import bridge_of
from wopr.queue.queue import TaskQueue, inside
from wopr.queue.sync import SyncQueue

OPTIONS = ("queue", *(name for name in RegistrationOptions.__annotations__ if name != "priority"))
"""All that a backend can be told; each of Django's tasks has a priority of its own."""

_calls = CallCarrier()
_declared: WeakKeyDictionary[Callable[..., Any], str] = WeakKeyDictionary()
"""The backends that tasks are declared with, by their functions."""


class WoprBackend(BaseTaskBackend):  # type: ignore[misc]  # Django has no types
    """Enqueues Django's tasks on a :class:`wopr.TaskQueue`.

    ``OPTIONS``: ``queue`` is ``"module:attribute"``; all others (``max_retries``, ``retry``,
    ``timeout``, ``soft_timeout``, ``retain``, ``limit``, ``rate``, ``key``, ``executor``) are
    those of :meth:`wopr.TaskQueue.register_task`, for all tasks of this backend.

    A task's ``queue_name`` is its category. Its priority is LOW below 0, NORMAL at 0, HIGH to
    50, CRITICAL above. It is registered, under its module path, when its module is imported.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    @cached_property
    def queue(self) -> TaskQueue:
        """The queue of the options.

        Raises:
            ImproperlyConfigured: there is none, or there is an option that is not known.
        """
        where = f'TASKS["{self.alias}"]["OPTIONS"]'
        for key in self.options:
            if key not in OPTIONS:
                raise ImproperlyConfigured(
                    f"{where} has {key!r}, which is no option. There are: {', '.join(OPTIONS)}."
                )
        target = self.options.get("queue")
        module, _, name = str(target).partition(":")
        if module == "__main__" and "__mp_main__" in sys.modules:
            module = "__mp_main__"  # so a worker process calls the main module of the program
        try:
            found = (
                getattr(importlib.import_module(module), name, None) if module and name else None
            )
        except ImportError as error:
            raise ImproperlyConfigured(
                f'{where}["queue"] is {target!r}, but {module} can\'t be imported: {error}. Name a '
                'module that can, as "module:attribute", for example "shop.queue:queue".'
            ) from error
        if not isinstance(found, TaskQueue):
            raise ImproperlyConfigured(
                f'{where}["queue"] is {target!r}, which is no TaskQueue but {found!r}. Name '
                'one as "module:attribute", for example "shop.queue:queue". '
                "If tasks are defined in its module too, put the queue above them."
            )
        tell_signals(found)
        return found

    @property
    def sync(self) -> SyncQueue:
        """The way to call the queue's coroutine functions, the same for all threads."""
        return bridge_of(self.queue)

    def validate_task(self, task: Task) -> None:
        """Refuse what can't be a task; register what can, for all backends of the queue."""
        super().validate_task(task)
        if self.name_of(task) not in inside(self.queue).registry.definitions:
            for backend in self._siblings():
                backend.register(task)

    def name_of(self, task: Task) -> str:
        """Return the name that calls of a task through this backend have.

        It is the task's module path, and behind it ``@`` and the alias if the task is declared
        with another backend: each backend has its own options.
        """
        own = [backend.alias for backend in self._siblings()]
        declared = _declared_with(task)
        first = declared if declared in own else own[0]
        path: str = task.module_path
        return path if self.alias == first else f"{path}@{self.alias}"

    def _siblings(self) -> list[WoprBackend]:
        """Return the backends of the settings that have the same queue; this one is among them."""
        found: list[WoprBackend] = []
        for alias in task_backends.settings:
            try:
                backend = self if alias == self.alias else task_backends[alias]
                if isinstance(backend, WoprBackend) and backend.queue is self.queue:
                    found.append(backend)
            except ImproperlyConfigured:  # its own users are told
                continue
        return found or [self]

    def register(self, task: Task) -> None:
        """Register a task's function with the options of this backend."""
        name = self.name_of(task)
        options = {key: value for key, value in self.options.items() if key != "queue"}
        self.queue.register_task(name, task.queue_name, **options)(runner_of(task))
        definitions = inside(self.queue).registry.definitions
        carriers = [*definitions[name].carriers, _calls]
        definitions[name] = replace(definitions[name], carriers=carriers)
        known[name] = Declared(task, self.alias)

    def enqueue(self, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskResult:
        """Enqueue a call; returns once it is on disk.

        Raises:
            InvalidCallError: the arguments don't fit the function.
            TypeError: an argument can't be stored as JSON.
        """
        self.validate_task(task)
        _check_call(task, args, kwargs)
        result = new_result(task, self.alias, args, kwargs)
        task_id, created_at = self.sync(self._enqueue, result)
        set_fields(result, id=task_id, enqueued_at=local(created_at))
        task_enqueued.send(type(self), task_result=result)
        return result

    async def _enqueue(self, result: TaskResult) -> tuple[str, datetime]:
        """Enqueue a call; return its id, and the time that its row tells."""
        task = result.task
        _calls.take(task)
        handle: TaskHandle[Any] = await self.queue.enqueue(
            self.name_of(task), result.args, result.kwargs, **_options_of(task)
        )
        return handle.id, (await self.queue.require_task_info(handle.id)).created_at

    def get_result(self, result_id: str) -> TaskResult:
        """Return what became of a call, as its row tells it.

        Raises:
            TaskResultDoesNotExist: the queue does not know it, or it is no task of Django's.
        """
        try:
            return self.sync(self._look_up, result_id)
        except InvalidCallError as error:
            raise TaskResultDoesNotExist(result_id) from error

    async def _look_up(self, result_id: str) -> TaskResult:
        await signals_sent(result_id)
        return await look_up(self.queue, result_id, self.alias)

    def check(self, **kwargs: Any) -> Iterable[checks.CheckMessage]:
        """Report a wrong setting when Django starts."""
        try:
            _ = self.queue
        except ImproperlyConfigured as error:
            return [checks.Error(str(error), id="wopr.E001")]
        return []


def _options_of(task: Task) -> Options:
    return {
        "category": task.queue_name,
        "priority": priority_of(task.priority),
        "run_at": None if task.run_after is None else aware(task.run_after),
    }


def call_of(
    task: Task, core: Core, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[str, Options]:
    """Return the name and the options that a call of one of Django's tasks has in a queue.

    What Django can say more exactly goes along with the next call that this context enqueues.

    Raises:
        InvalidCallError: its backend has another queue, or the arguments don't fit.
    """
    backend = task.get_backend()
    if not isinstance(backend, WoprBackend) or inside(backend.queue) is not core:
        raise InvalidCallError(
            f"{task.module_path} has the backend {task.backend!r}, which enqueues elsewhere. Name "
            'the queue of the outbox in its OPTIONS["queue"].'
        )
    backend.validate_task(task)
    _check_call(task, args, kwargs)
    _calls.take(task)
    return backend.name_of(task), _options_of(task)


def _check_call(task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    given = (None, *args) if task.takes_context else args
    try:
        inspect.signature(task.func).bind(*given, **kwargs)
    except TypeError as error:
        raise InvalidCallError(f"{task.module_path} can't be called so: {error}.") from None


def _declared_with(task: Task) -> str:
    """Return the backend that a task is declared with, the same in all processes."""
    if task.func not in _declared:
        module = sys.modules.get(task.func.__module__)
        found = getattr(module, task.func.__qualname__, None)
        if not isinstance(found, Task) or found.func is not task.func:  # it is being declared
            found = task
        _declared[task.func] = found.backend
    return _declared[task.func]
