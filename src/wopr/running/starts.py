"""Which task of the event loop an attempt runs in.

A task of its own costs more than many a function that never waits for anything. So those that
are known to be brief share one, as long as none has to wait: the one that does keeps it for
itself, and the next one, made before because only the loop knows when that happens, goes on
with the others.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from wopr.running.attempt import Attempt

BRIEF_SECONDS = 0.0002
BRIEF_RUNS = 16
"""A function is brief after so many runs in a row of less than that."""
WAITED_RUNS = 1_000
"""So many more it takes once it was taken for brief and had to wait."""


class Starts:
    """Starts attempts of one pool, each in the next turn of the loop.

    Args:
        loop: runs them.
        run: runs an attempt to its end, whatever comes of it; returns the seconds it took.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, run: Callable[[Attempt], Awaitable[float]]
    ) -> None:
        self._loop = loop
        self._run = run
        self._brief: dict[str, int] = {}  # by name, runs in a row that were
        self._waiting: deque[Attempt] = deque()
        self._next: asyncio.Task[None] | None = None  # runs what waits; it has not begun
        self._now: Attempt | None = None  # what the one before runs

    @property
    def begun(self) -> bool:
        """Whether there is nothing left that waits for its start."""
        return not self._waiting or self._next is None or self._next.done()

    def start(self, attempt: Attempt) -> None:
        """Start an attempt; its task is known once it has begun, or is to have one of its own."""
        definition = attempt.definition
        if self._is_brief(attempt) and not definition.carriers:  # they leave things in the context
            self._waiting.append(attempt)
            self._go_on()
        else:
            attempt.task = self._task(self._alone(attempt))

    def look(self) -> None:
        """Go on with what waits if somebody cancelled what was to run it; in a turn of its own."""
        if self._waiting:
            self._go_on()

    def _is_brief(self, attempt: Attempt) -> bool:
        return self._brief.get(attempt.record.name, 0) >= BRIEF_RUNS

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        # In a context of its own, not in that of a caller.
        return self._loop.create_task(work, context=contextvars.Context())

    async def _alone(self, attempt: Attempt) -> None:
        name = attempt.record.name
        if await self._run(attempt) < BRIEF_SECONDS and attempt.definition.is_async:
            self._brief[name] = self._brief.get(name, 0) + 1
        elif self._brief.get(name, 0) > 0:
            self._brief[name] = 0

    def _go_on(self) -> None:
        """Make the task that runs what waits then, in the next turn of the loop."""
        if self._next is None or self._next.done():  # somebody cancelled it
            self._next = self._task(self._together())

    async def _together(self) -> None:
        if self._next is not asyncio.current_task():  # made eagerly: nobody knows of it yet
            await asyncio.sleep(0)
        me, self._next = self._next, None
        if self._now is not None:  # it waits, and has the task before this one for itself
            self._brief[self._now.record.name] = -WAITED_RUNS
            self._now = None
        while self._waiting:
            attempt = self._waiting.popleft()
            if attempt.over or attempt.context.cancelled:  # before it began
                continue
            if not self._is_brief(attempt):
                attempt.task = self._task(self._alone(attempt))
                continue
            others = bool(self._waiting)
            if others:
                self._go_on()
            self._now, attempt.task = attempt, me
            await self._run(attempt)
            if self._now is not attempt:
                return
            self._now = attempt.task = None
            if not others or _is_used(me):
                return


def _is_used(task: asyncio.Task[None] | None) -> bool:
    """Whether a function left something in its task that the next one must not find."""
    alone = 1  # the variable that says for whom it runs
    return len(contextvars.copy_context()) > alone or (task is not None and task.cancelling() > 0)
