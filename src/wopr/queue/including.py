"""Tasks that were declared without a queue, or that nobody has imported yet."""

from __future__ import annotations

from types import ModuleType
from typing import Any, cast

from wopr.calls.byname import ByName
from wopr.core.task import Task
from wopr.domain.modulenames import patterns_in
from wopr.handlers.declares import Declares
from wopr.handlers.discover import of_modules, of_packages
from wopr.handlers.include import include
from wopr.handlers.named import register_named
from wopr.queue.face import Face


class Including(Face):
    """Puts tasks into a queue."""

    def _find_by_name(self) -> None:
        """Let calls name functions of modules, as far as the settings allow it."""
        core, queue = self._core, cast("Declares", self)
        core.registry.by_name = ByName(
            lambda: core.settings.allow_modules,
            lambda path, found: register_named(queue, path, found),
        )

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

    def discover(self, *patterns: str) -> list[str]:
        """Import the modules that have tasks, and put those into this queue that are declared.

        Nothing is imported twice, the program that runs neither, and nothing is put in before
        all is imported.

        Args:
            *patterns: of modules, like ``shop.*.tasks``: ``*`` stands for any characters of one
                part, ``**`` for any number of parts, also none. Without any, those of
                ``WOPR_TASKS_DISCOVER`` count, and what installed packages offer as entry points
                of the group ``wopr.tasks``, unless ``WOPR_TASKS_ENTRY_POINTS`` is off.

        Returns:
            The modules.

        Raises:
            DuplicateTaskError: a name belongs to another function; the error says both places.
            InvalidCallError: a pattern matches nothing, or an import failed; the error names the
                module and says where.
        """
        settings = self._core.settings
        found = of_modules(patterns or patterns_in(settings.discover))
        if not patterns and settings.entry_points:
            found += of_packages()
        for one in found:
            include(cast("Declares", self), self._core, one.tasks)
        return list(dict.fromkeys(one.module for one in found))
