"""Whether a queue is well, and whether it takes on work."""

from __future__ import annotations

import asyncio

from wopr.access.standby import Works
from wopr.domain.jsontext import safe_text
from wopr.queue.queue import TaskQueue, inside
from wopr.service.reach import workings_of

FRESH = 1.0
"""So many seconds an answer of the storage counts."""
PATIENCE = 0.5
"""Seconds that a question waits for the storage: those who ask have little time themselves."""
STUCK = 10.0
"""Seconds without an answer after which the storage counts as broken, not as busy."""
LONGEST_PROBLEM = 500


class Health:
    """The state of one queue. Looking changes nothing and opens nothing."""

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue
        self._asking: asyncio.Task[str | None] | None = None
        self._asked = 0.0
        self._last: str | None = None
        self._draining = False

    def drain(self) -> None:
        """Be not ready from now on: the process is about to stop."""
        self._draining = True

    async def problem(self) -> str | None:
        """Return what is wrong with the storage; ``None`` if nothing is.

        It has to answer a read, after its writing thread took the turn before: an unusable
        database, or a thread that is gone, shows. While it is only slow the last answer counts.
        """
        works = inside(self._queue).access.works
        if works is None or not works.open:
            return None  # nothing is open that could be broken
        now = asyncio.get_running_loop().time()
        if self._asking is None or (self._asking.done() and now - self._asked >= FRESH):
            self._asked = now
            self._asking = asyncio.create_task(_ask(works))
        await asyncio.wait({self._asking}, timeout=PATIENCE)
        if self._asking.done():
            if not self._asking.cancelled():  # else nobody waits for answers any more
                self._last = self._asking.result()
            return self._last
        waited = asyncio.get_running_loop().time() - self._asked
        if waited < STUCK:
            return self._last
        return (
            f"The storage has not answered for {waited:.0f} s. Is its disk stuck, or the machine "
            "out of memory? Restart the process: nothing acknowledged is lost."
        )

    async def obstacles(self) -> list[str]:
        """Return why the queue takes on no work in this process; empty if it does."""
        if not self._queue.enabled:
            return ["The queue is switched off (WOPR_TASKS_ENABLED)."]
        works = inside(self._queue).access.works
        if works is None:
            return ["The queue is not open in this process, or another process owns its file."]
        if self._draining or works.stopping or not works.open:
            return ["The queue is shutting down."]
        found = [] if self._queue.workers else ["No workers were started."]
        problem = await self.problem()
        return found if problem is None else [*found, problem]

    def journal(self) -> dict[str, object]:
        """Return how far what can be asked is behind what was acknowledged; empty if unknown."""
        workings = workings_of(self._queue)
        state = None if workings is None or not workings.open else workings.journal
        if state is None:
            return {}
        return {
            "changes": state.rows,
            "bytes": state.bytes,
            "seconds": round(state.seconds, 3),
            "sync": "full" if state.synced else "process",
            "inline": state.inline,
        }

    async def close(self) -> None:
        """Wait for no answer any more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})


async def _ask(works: Works) -> str | None:
    try:
        await works.answers()
    except Exception as error:  # noqa: BLE001 - whatever a storage raises, it does not work
        if not works.open:
            return None
        return f"The storage fails: {safe_text(error)}"[:LONGEST_PROBLEM]
    return None
