"""Functions that a call names by their module, where such modules may be imported."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from wopr.calls.modules import imported
from wopr.domain.errors import InvalidCallError, TaskNotRegisteredError
from wopr.domain.masking import mask
from wopr.domain.modulenames import FunctionPath, matches, path_of, patterns_in

log = logging.getLogger(__name__)

MOST_WANTED = 1_000
"""So many names are remembered that were looked for in vain; names come from outside."""

Register = Callable[[FunctionPath, object], None]
"""Registers what a module has under a name; raises InvalidCallError for what is no function."""


class ByName:
    """Imports and registers functions by their names, if the settings allow their modules.

    A name is all that a row or a caller can say. What is imported is decided by the patterns of
    the settings before anything is: no other module, nothing private, no attribute of anything.

    Args:
        allowed: the patterns, as they are now.
        register: what to do with what was found.
    """

    def __init__(self, allowed: Callable[[], str], register: Register) -> None:
        self._allowed = allowed
        self._register = register
        self._lock = threading.Lock()
        self._wanted: list[FunctionPath] = []
        self._looking = False
        self._thread: threading.Thread | None = None
        self._failed: dict[str, str] = {}

    def find(self, path: FunctionPath) -> bool:
        """Import and register a function under its name with dots; ``False``: it is not allowed.

        Raises:
            TaskNotRegisteredError: the import failed, or there is no such function.
        """
        if not self._allows(path):
            return False
        try:
            module = imported(path.module, f"task {str(path)!r}, by WOPR_TASKS_ALLOW_MODULES")
            self._register(path, vars(module).get(path.function))
        except InvalidCallError as error:
            raise TaskNotRegisteredError(str(error)) from error
        return True

    def want(self, name: str) -> None:
        """Look for the function of a waiting task in a thread, once; an import may take long."""
        path = path_of(name)
        if path is None or str(path) != name or not self._allows(path):
            return
        with self._lock:
            known = len(self._failed) + len(self._wanted)
            if name in self._failed or path in self._wanted or known >= MOST_WANTED:
                return
            self._wanted.append(path)
            if self._looking:
                return
            self._looking = True
        self._thread = threading.Thread(target=self._look, name="wopr-import", daemon=True)
        self._thread.start()

    def told(self, name: str) -> str:
        """Say what became of the search for a function, or what would let it begin."""
        if (why := self._failed.get(name)) is not None:
            return f"It was looked for by its name, once in this process: {why}"
        path = path_of(name)
        if path is None:
            return ""
        if self._allows(path):
            return "Its module may be imported for it: that is done when a worker is free for it."
        now = self._allowed() or "none"
        return (
            f"If it was declared with @wopr.task: queue.include({path.module}), or wopr worker "
            f"--discover {path.module}. To have {path.module} imported because a task names a "
            f"function of it: WOPR_TASKS_ALLOW_MODULES={path.module}, or wopr worker "
            f"--allow-module {path.module}; allowed now: {now}."
        )

    def _allows(self, path: FunctionPath) -> bool:
        return any(matches(one, path.module) for one in patterns_in(self._allowed()))

    def _look(self) -> None:
        """Look for all that is wanted."""
        while True:
            with self._lock:
                if not self._wanted:
                    self._looking = False
                    return
                path = self._wanted[0]
            try:
                if self.find(path):
                    log.info("Task %r was found by its name, which a waiting task has.", str(path))
            except BaseException as error:  # noqa: BLE001 - code of the application: it may raise anything
                self._failed[str(path)] = mask(str(error))
                log.error("Tasks %r wait: %s", str(path), error)
            finally:
                with self._lock:
                    self._wanted.remove(path)
