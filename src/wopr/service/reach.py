"""The engine behind a queue, for what serves its operators."""

from __future__ import annotations

from wopr.engine.engine import Engine
from wopr.queue.queue import TaskQueue, inside


def engine_of(queue: TaskQueue) -> Engine | None:
    """Return the engine, if the queue is open and this process owns its file.

    Never opens the queue: a look from outside must not start anything.
    """
    return inside(queue).access.engine
