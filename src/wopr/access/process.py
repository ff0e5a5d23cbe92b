"""The process that has a queue open: a child that is forked from it can't use that queue."""

from __future__ import annotations

import os
from pathlib import Path

from wopr.domain.errors import StorageForkedError


class OpenIn:
    """Remembers which process has a queue open, or is opening it.

    In a forked child the queue looks open, but its event loop and its threads are those of the
    parent: who waits for them waits for ever.
    """

    def __init__(self) -> None:
        self._pid: int | None = None

    def begin(self) -> None:
        """Note this process."""
        self._pid = os.getpid()

    def end(self) -> None:
        """Note that nothing is open any more; every process may open it."""
        self._pid = None

    @property
    def parent(self) -> bool:
        """Whether it is not this process, but one that this one was forked from."""
        return self._pid is not None and self._pid != os.getpid()

    def check(self, database: Path) -> None:
        """Refuse to use the queue of a parent.

        Raises:
            StorageForkedError: it is one.
        """
        if self._pid is not None and self._pid != os.getpid():  # each call comes here
            raise StorageForkedError(
                f"This process (pid {os.getpid()}) was forked from process {self._pid}, which has "
                f"a queue on {database} open: that queue can't be used here. Build a new "
                "TaskQueue in the child, or open queues after the fork only."
            )
