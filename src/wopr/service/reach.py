"""The engine behind a queue, for what serves its operators."""

from __future__ import annotations

from wopr.access.linekeeping import LineKeeping
from wopr.access.sharedworkings import SharedWorkings, shared
from wopr.insights.workings import Workings
from wopr.queue.queue import TaskQueue, inside


def keeping_of(queue: TaskQueue) -> LineKeeping | None:
    """Return what runs tasks in this process and can keep what they log, while it does."""
    return inside(queue).access.keeping


def workings_of(queue: TaskQueue) -> Workings | SharedWorkings | None:
    """Return what goes on, if the queue is open and this process owns its file, or shares tables.

    Never opens the queue: a look from outside must not start anything.
    """
    access = inside(queue).access
    if (engine := access.engine) is not None:
        return Workings(engine)
    works, backend = access.works, access.at_hand()
    if works is None or backend is None:
        return None
    return shared(works, backend.sql)
