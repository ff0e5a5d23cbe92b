"""What is handed over to the writer, and who waits for it in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wopr.domain.task import TaskRecord

Row = tuple[Any, ...]


@dataclass(slots=True)
class Write:
    """Log rows that are committed together, and the task rows they lead to.

    Without log rows it is a task's progress, which is only folded.
    """

    logs: list[Row]
    records: list[TaskRecord]
    rows: list[Row]  # per record, after the write
    before: list[Row]  # per record, to go back to if it fails; empty for a new task
    done: Callable[[BaseException | None], None]
    urgent: bool
    size: int = 0


class Waiter:
    """Lets the calling thread wait for a write that is finished in the writer's thread."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._error: BaseException | None = None

    def __call__(self, error: BaseException | None) -> None:
        """Take the outcome."""
        self._error = error
        self._done.set()

    def wait(self) -> None:
        """Return once the write is on disk; raise what went wrong."""
        self._done.wait()
        if self._error is not None:
            raise self._error


def nobody(error: BaseException | None) -> None:
    """Take the outcome of a write that nobody waits for; the next one stores what this lost."""
