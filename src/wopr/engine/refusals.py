"""What takes no work now: executors of the application that broke, processes that do not start.

Their tasks wait, whose functions have not begun, as those of a name without a function do. Each
is asked now and then whether it takes work again.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from wopr.calls.registry import Registry
from wopr.domain.jsontext import shown
from wopr.domain.task import TaskRecord
from wopr.executors.cluster import Cluster
from wopr.executors.foreign import refusal_of

log = logging.getLogger(__name__)

FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0
PATIENCE = 1.0
"""An executor that has taken something to do and not done it after so many seconds is busy."""


@dataclass(slots=True)
class Refusal:
    """Something that takes no work."""

    runner: object
    reason: str
    wait: float = FIRST_WAIT
    timer: asyncio.TimerHandle | None = None
    until: float = 0.0
    """So long it is remembered, by the loop's clock, once it was given work again."""

    def __str__(self) -> str:
        """Say it in one sentence."""
        return f"{named(self.runner)} takes no work: {self.reason.rstrip('.')}."


class Refusals:
    """What takes no work now, in one engine."""

    def __init__(self, registry: Registry, loop: asyncio.AbstractEventLoop) -> None:
        self._registry = registry
        self._loop = loop
        self._refusals: list[Refusal] = []
        self._asking: set[asyncio.Task[None]] = set()
        self._let_go: list[Refusal] = []
        """Those that were given work again, for as long as it matters how long they took none."""
        self._closed = False
        self.over: Callable[[], None] = lambda: None
        """Told when something takes work again."""

    def __bool__(self) -> bool:
        return bool(self._refusals)

    def __iter__(self) -> Iterator[Refusal]:
        return iter(self._refusals)

    def of(self, record: TaskRecord) -> Refusal | None:
        """Return why what runs this task takes no work; ``None`` if it does."""
        runner = self._registry.runner(record.name, record.category)
        return None if runner is None else self._of(runner)

    def names(self, refusal: Refusal) -> list[str]:
        """Return the names of the tasks that wait for it."""
        found = self._registry.definitions.values()
        return sorted(
            one.name
            for one in found
            if self._registry.runner(one.name, one.category) is refusal.runner
        )

    def _of(self, runner: object) -> Refusal | None:
        return next((one for one in self._refusals if one.runner is runner), None)

    def note(self, runner: object, reason: str) -> None:
        """Note that it did not take a task."""
        known = self._of(runner)
        if known is not None:
            known.reason = reason
            return
        refusal = Refusal(runner, reason, self._first_wait(runner))
        self._refusals.append(refusal)
        log.error(
            "%s Its tasks wait (%s). It is asked now and then, and they go on once it takes work.",
            refusal,
            ", ".join(self.names(refusal)) or "none that are registered",
        )
        self._ask_later(refusal)

    def _first_wait(self, runner: object) -> float:
        """Return how long it is left alone: longer, if it took none when it was last asked."""
        now = self._loop.time()
        self._let_go = [one for one in self._let_go if now <= one.until]
        known = next((one for one in self._let_go if one.runner is runner), None)
        return FIRST_WAIT if known is None else min(2 * known.wait, LONGEST_WAIT)

    def _ask_later(self, refusal: Refusal) -> None:
        if not self._closed:
            refusal.timer = self._loop.call_later(refusal.wait, self._ask, refusal)

    def _ask(self, refusal: Refusal) -> None:
        task = self._loop.create_task(self._asked(refusal))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _asked(self, refusal: Refusal) -> None:
        runner, why = refusal.runner, None
        if isinstance(runner, concurrent.futures.Executor):
            why = await refusal_of(runner, PATIENCE)
        elif isinstance(runner, Cluster):
            why = await asyncio.to_thread(runner.refusal)
        if why is not None:
            refusal.reason = why
            refusal.wait = min(refusal.wait * 2, LONGEST_WAIT)
            self._ask_later(refusal)
            return
        refusal.until = self._loop.time() + 2 * refusal.wait + LONGEST_WAIT
        self._let_go = [one for one in self._let_go if one.runner is not runner] + [refusal]
        self._refusals.remove(refusal)
        log.info("%s is given work again.", named(runner))
        self.over()

    def close(self) -> None:
        """Ask no more."""
        self._closed = True
        for refusal in self._refusals:
            if refusal.timer is not None:
                refusal.timer.cancel()
        for task in self._asking:
            task.cancel()


def named(runner: object) -> str:
    """Say what runs tasks."""
    return f'executor="{runner}"' if isinstance(runner, str) else f"Executor {shown(runner)}"
