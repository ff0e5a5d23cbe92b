"""Tasks that were declared without a queue, or that nobody has imported yet."""

from __future__ import annotations

from types import ModuleType
from typing import Any, cast

from wopr.core.task import Task
from wopr.handlers.declares import Declares
from wopr.handlers.include import include
from wopr.queue.face import Face


class Including(Face):
    """Puts tasks into a queue."""

    def include(self, *sources: Task[..., Any] | ModuleType) -> None:
        """Put tasks into this queue that were declared without one, with ``@wopr.task``.

        Args:
            *sources: tasks, and modules: of a module all that it has names for, those it has
                imported too, and none of the modules below it.

        A task that is in the queue already stays as it is. One may be in several queues; then
        ``queue.enqueue(task, …)`` says which one a call goes to.

        Raises:
            DuplicateTaskError: a name belongs to another function; the error says both places.
            InvalidCallError: a source is no such task and no module with one; nothing was
                put in.
        """
        include(cast("Declares", self), self._core, sources)
