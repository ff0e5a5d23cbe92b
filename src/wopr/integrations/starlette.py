"""A queue in Starlette and FastAPI: a lifespan, and the queue in a request.

::

    app = FastAPI(lifespan=lifespan(queue, workers={"mail": 4}))

    @app.post("/signup")
    async def signup(queue: Annotated[TaskQueue, Depends(get_queue)]) -> …
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from starlette.requests import HTTPConnection

from wopr.domain.errors import QueueClosedError
from wopr.integrations.serving import WORKERS, checked, serving
from wopr.queue.queue import TaskQueue

STATE = "wopr_queue"
"""The name of the queue in the state of the application and of its requests."""

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


def lifespan(
    queue: TaskQueue, workers: Mapping[str, int] = WORKERS, inner: Lifespan | None = None
) -> Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any]]]:
    """Return a lifespan that opens the queue, and shuts it down at the end.

    Args:
        queue: which one.
        workers: how many, by category, in whichever process owns the file; ``{}`` or a 0 only
            enqueues.
        inner: the application's own lifespan. It finds the queue open, and ends before the
            queue does. What it yields goes into the state of requests.

    The application does not start if the queue can't be opened.

    Raises:
        InvalidCallError: it is no queue, or ``workers`` is no dict of category to number.
    """
    counts = checked(queue, workers)

    @asynccontextmanager
    async def with_queue(app: Any) -> AsyncIterator[Mapping[str, Any]]:
        async with serving(queue, counts):
            setattr(app.state, STATE, queue)
            if inner is None:
                yield {STATE: queue}
                return
            async with inner(app) as state:
                yield {**(state or {}), STATE: queue}

    return with_queue


def get_queue(connection: HTTPConnection) -> TaskQueue:
    """Return the queue of the application that answers; ``Depends(get_queue)`` in FastAPI.

    Raises:
        QueueClosedError: the application was started without :func:`lifespan`.
    """
    found = connection.scope.get("state", {}).get(STATE)
    if found is None:
        found = getattr(connection.app.state, STATE, None)
    if not isinstance(found, TaskQueue):
        raise QueueClosedError(
            f"The application that answers {connection.url.path} has no queue. Start it with "
            "lifespan=wopr.integrations.starlette.lifespan(queue); in tests, use "
            "`with TestClient(app)`, which runs the lifespan."
        )
    return found
