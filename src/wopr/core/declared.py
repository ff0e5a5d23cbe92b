"""The queues that a task is in which was declared without one."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping
from typing import Any

from wopr.core.core import Core
from wopr.domain.errors import InvalidCallError, TaskNotRegisteredError


class Declared:
    """What ``@wopr.task`` was told, and the queues that the task was put into.

    They are known weakly: a queue that nobody keeps is in nobody's way, as the one of a test
    that has ended.

    Args:
        name: of the task, the same in all queues.
        options: what was said besides; checked.
    """

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name
        self.options = dict(options)
        self.schedules: list[tuple[str | None, Mapping[str, Any]]] = []
        """Name and options of the schedules that were declared above it."""
        self._cores: list[weakref.ref[Core]] = []  # a new one each time: others may read it now

    def bind(self, core: Core) -> None:
        """Note that the task is registered with a queue."""
        if not self.is_in(core):
            self._cores = [*self._cores, weakref.ref(core, self._forget)]

    def is_in(self, core: Core) -> bool:
        """Whether the task is in this queue."""
        return any(one is core for one in self._alive())

    def is_in_any(self) -> bool:
        """Whether the task is in a queue already."""
        return bool(self._alive())

    def core(self) -> Core:
        """Return the queue that calls of the task go to.

        One that was shut down counts only while there is no other.

        Raises:
            TaskNotRegisteredError: it is in no queue.
            InvalidCallError: it is in several.
        """
        cores = self._cores
        if len(cores) == 1:  # the usual case, without the lists
            only = cores[0]()
            if only is not None and not only.was_shut_down:
                return only
            del only
        found = self._in_use()
        if len(found) == 1:
            return found[0]
        del found
        gc.collect()  # a queue that nobody keeps goes only now: its parts refer to it
        found = self._in_use() or self._alive()
        if len(found) > 1:
            files = ", ".join(sorted({str(one.database) for one in found}))
            raise InvalidCallError(
                f"Task {self.name!r} is in {len(found)} queues, on {files}: which one a call goes "
                "to has to be said. Write queue.enqueue(task, args=(…), kwargs={…})."
            )
        if not found:
            raise self._in_none()
        return found[0]

    def _forget(self, gone: weakref.ref[Core]) -> None:
        self._cores = [one for one in self._cores if one is not gone]

    def _in_use(self) -> list[Core]:
        return [core for core in self._alive() if not core.is_shut_down]

    def _alive(self) -> list[Core]:
        return [core for one in self._cores if (core := one()) is not None]

    def _in_none(self) -> TaskNotRegisteredError:
        return TaskNotRegisteredError(
            f"Task {self.name!r} was declared with @wopr.task and is in no queue, so nobody can "
            "enqueue it. Put it into one, which the application keeps: queue.include(task_or_its_"
            'module), TaskQueue(tasks=[…]), or queue.discover("its.module"). In a worker: wopr '
            "worker module:queue --discover its.module."
        )
