"""The engine behind a queue, for what serves its operators."""

from __future__ import annotations

from wopr.access.linekeeping import LineKeeping
from wopr.insights.workings import Workings
from wopr.queue.queue import TaskQueue, inside


def keeping_of(queue: TaskQueue) -> LineKeeping | None:
    """Return what runs tasks in this process and can keep what they log, while it does."""
    return inside(queue).access.keeping


def workings_of(queue: TaskQueue) -> Workings | None:
    """Return what goes on, if the queue is open and this process owns its file.

    Never opens the queue: a look from outside must not start anything.
    """
    engine = inside(queue).access.engine
    return None if engine is None else Workings(engine)
