"""What is handed over to be made durable, and who waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from wopr.domain.task import TaskRecord

log = logging.getLogger(__name__)

Row = tuple[Any, ...]


@dataclass(slots=True)
class Write:
    """Records of the journal that are durable together, and the task rows they lead to.

    Without records it is a task's progress, which is no transition and only reaches its row.
    """

    content: bytes
    """The records, a line each."""
    count: int
    done: Callable[[BaseException | None], None]
    urgent: bool = True
    records: Sequence[TaskRecord] = ()
    rows: Sequence[Row] = ()
    """Per task record, after the write."""
    before: Sequence[Row] = ()
    """Per task record, to go back to if it fails; empty for a new task."""
    seq: int = 0
    """The number of its last transition."""
    operations: bool = False
    """Whether the records are no transitions."""


class Waiter:
    """Lets the calling thread wait for a write that is finished in the journal's thread."""

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


def finish(results: Sequence[tuple[Write, BaseException | None]]) -> None:
    """Tell who waits for writes what came of them."""
    for write, error in reversed(results):  # the newest first: a record may be in several
        if error is not None:
            for record, row in zip(write.records, write.before, strict=False):  # progress has none
                if row:
                    record.load(row)
    for write, error in results:
        try:
            write.done(error)
        except Exception:
            # The others of this group have to hear of it all the same.
            log.exception("What follows a commit failed")
