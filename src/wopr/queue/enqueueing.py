"""The calls that add tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, Unpack

from wopr.calls.latercalls import NAMES, taken
from wopr.calls.options import CALL_OPTIONS, Options, check_options
from wopr.core.handle import TaskHandle
from wopr.core.task import Task
from wopr.domain.errors import InvalidCallError
from wopr.domain.leftout import names_options
from wopr.domain.status import TaskPriority
from wopr.queue.face import Face

R = TypeVar("R")

RIGHT_CALL = (
    'add_task("name", "category", TaskPriority.HIGH, 3, …) takes the category, the priority and '
    "max_retries before the function's own positional arguments; "
    'queue.enqueue("name", args=(…), kwargs={…}, priority=…) keeps them apart.'
)


class Enqueueing(Face):
    """Enqueues calls by the names of their tasks."""

    async def add_task(
        self,
        name: str,
        category: str | None = None,
        priority: TaskPriority | None = None,
        max_retries: int | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> str:
        """Add a task and return its id, once it is on disk.

        Args:
            name: of a registered task.
            category: ``None`` means the one it was registered with.
            priority: ``None`` means the task's own, usually NORMAL.
            max_retries: ``None`` means the task's own, usually 0.
            *args: positional arguments of the function.
            **kwargs: keyword arguments of the function. Where they collide with the
                names above, use :meth:`enqueue`. Where the function takes none of this name,
                these are options: ``run_at`` (a naive one is local time), ``delay_seconds``,
                ``idempotency_key`` (the ``unique_key``), ``connection``, and
                ``skip_worker_check``, which changes nothing.

        Raises:
            QueueDisabledError: the queue is switched off.
            TaskNotRegisteredError: nothing has this name.
            InvalidCallError: a value or an argument is wrong; nothing was written.
            StorageError: the storage refused it.
        """
        options = _given(category, priority, max_retries)
        if not NAMES.isdisjoint(kwargs) and self._core.enabled:
            kwargs = taken(self._core.registry.get(name), kwargs, options)
        try:
            return await self._core.enqueue(name, args, kwargs, options)
        except InvalidCallError as error:
            if type(error) is InvalidCallError and _misplaced(category, priority, max_retries):
                raise InvalidCallError(f"{error} {RIGHT_CALL}") from error
            raise

    @names_options(Options)
    async def enqueue(
        self,
        task: str | Task[..., R],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> TaskHandle[R]:
        """Enqueue a task by name or object, its arguments apart from the options.

        Options as in :meth:`Task.options`; errors as in :meth:`add_task`.
        """
        check_options(options, CALL_OPTIONS)
        name = task.name if isinstance(task, Task) else task
        named = {} if kwargs is None else kwargs
        return TaskHandle(self._core, await self._core.enqueue(name, args, named, options))

    async def enqueue_id(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> str:
        """Enqueue one call and return its id; errors as in :meth:`add_task`."""
        return await self._core.enqueue(name, args, kwargs, options)

    async def enqueue_ids(
        self, name: str, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]], options: Options
    ) -> list[str]:
        """Enqueue many calls of one task and return their ids."""
        return await self._core.enqueue_many(name, calls, options)

    def handle(self, task_id: str) -> TaskHandle[Any]:
        """Return a handle for an id that was kept elsewhere."""
        return TaskHandle(self._core, task_id)


def _given(category: str | None, priority: TaskPriority | None, most: int | None) -> Options:
    """Return the options that a call gives; without any it goes the shorter way."""
    if category is None and priority is None and most is None:
        return {}
    return {"category": category, "priority": priority, "max_retries": most}


def _misplaced(category: object, priority: object, max_retries: object) -> bool:
    """Tell whether the function's arguments may stand where the options of the call belong."""
    return (
        not isinstance(category, str | None)
        or not isinstance(priority, TaskPriority | None)
        or not isinstance(max_retries, int | None)
    )
