"""A base for one's own services: waits for a piece of work, handles it, and so on."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from wopr.background.schedulable import BackgroundPriority, TaskState
from wopr.domain.guarded import shown

T = TypeVar("T")


class BackgroundTask(ABC, Generic[T]):
    """A service that takes one piece of work after the other; a ``SchedulableTask``.

    A subclass says what to ``take`` and how to ``handle`` it; all states are kept here.

    Args:
        task_name: unique within a scheduler.
        priority: lower is first.
        logger: ``None`` means ``wopr.background``.
    """

    error_pause = 1.0
    """Seconds to wait after ``take`` or ``handle`` raised."""

    def __init__(
        self,
        task_name: str,
        priority: int = BackgroundPriority.NORMAL,
        logger: logging.Logger | None = None,
    ) -> None:
        self._task_name = task_name
        self._priority = priority
        self._logger = logger or logging.getLogger("wopr.background")
        self._state = TaskState.IDLE
        self._held = False
        self._handling = False
        self._stops = 0
        self._go = asyncio.Event()
        self._turn: asyncio.Task[None] | None = None
        self._loop: asyncio.Task[None] | None = None

    @abstractmethod
    async def take(self) -> T:
        """Wait for the next piece of work; cancelled by ``suspend`` and ``stop``.

        When it is cancelled it must not have taken anything: ``return await queue.get()`` is
        right.
        """

    @abstractmethod
    async def handle(self, work: T) -> None:
        """Do one piece of work. ``suspend`` and ``stop`` wait until it has returned.

        It is cancelled only if whoever waits for ``stop`` gives up.
        """

    def stopped(self) -> None:
        """Tidy up; called once the work has ended."""

    @property
    def task_name(self) -> str:
        """Its name, unique within a scheduler."""
        return self._task_name

    @property
    def priority(self) -> int:
        """How important it is; lower is first."""
        return self._priority

    @property
    def state(self) -> TaskState:
        """Where it stands."""
        return self._state

    @property
    def held(self) -> bool:
        """Whether it was suspended again while it was SUSPENDED.

        That was somebody else than who suspended it first, so that one does not resume it.
        """
        return self._held

    def get_progress(self) -> dict[str, Any]:
        """Return whether it is running."""
        return {"running": self._state is TaskState.RUNNING}

    async def start(self) -> None:
        """Begin to work. When it is SUSPENDED, go on."""
        if self._state is TaskState.STOPPED:
            stops = self._stops
            await self._until_done(self._loop)  # should stop() be under way
            if stops != self._stops:  # and called once more meanwhile
                return
        if self._loop is None or self._loop.done():
            self._go = asyncio.Event()
            self._loop = asyncio.create_task(self._run(), name=self._task_name)
        self._run_on()

    async def resume(self) -> None:
        """Go on, if it is SUSPENDED."""
        if self._state is TaskState.SUSPENDED:
            self._run_on()

    async def suspend(self) -> None:
        """Pause, if it is RUNNING; returns when the work in hand is done."""
        self._held = self._state is TaskState.SUSPENDED
        if self._state is TaskState.RUNNING:
            self._state = TaskState.SUSPENDED
            self._go.clear()
            self._stop_waiting()
        await self._until_done(self._turn)

    async def stop(self) -> None:
        """Stop; returns when the work in hand is done.

        If the caller gives up before, the work is cancelled.
        """
        self._state = TaskState.STOPPED
        self._stops += 1
        self._held = False
        self._go.set()
        self._stop_waiting()
        try:
            await self._until_done(self._loop)
        except asyncio.CancelledError:
            if self._turn is not None:
                self._turn.cancel()
            await self._until_done(self._loop)
            raise

    # -- inside -------------------------------------------------------------

    def _run_on(self) -> None:
        self._state = TaskState.RUNNING
        self._held = False
        self._go.set()

    def _stop_waiting(self) -> None:
        if self._turn is not None and not self._handling:
            self._turn.cancel()

    async def _until_done(self, task: asyncio.Task[None] | None) -> None:
        """Wait for the task, unless it is this very code that runs in it."""
        if task is not None and not task.done() and asyncio.current_task() is not self._turn:
            await asyncio.wait([task])

    async def _run(self) -> None:
        """Take turns while RUNNING. There is one such loop from ``start`` to ``stop``."""
        while self._state is not TaskState.STOPPED:
            await self._go.wait()
            if self._state is TaskState.RUNNING:
                self._turn = asyncio.create_task(self._take_turn(), name=self._task_name)
                try:
                    await asyncio.wait([self._turn])
                finally:
                    self._turn.cancel()  # does nothing, unless the event loop is going down
        self.stopped()

    async def _take_turn(self) -> None:
        try:
            work = await self.take()
            self._handling = True
            await self.handle(work)
        except Exception as error:  # noqa: BLE001 - logged
            await self._complain(error)
        except asyncio.CancelledError as error:
            if was_asked_to_stop():
                raise
            await self._complain(error)
        finally:
            self._handling = False

    async def _complain(self, error: BaseException) -> None:
        self._handling = False
        self._logger.error(
            "The service %r failed; it goes on in %g s: %s",
            self._task_name,
            self.error_pause,
            shown(error),
            exc_info=error,
        )
        if self._state is TaskState.RUNNING:
            await asyncio.sleep(self.error_pause)


def was_asked_to_stop() -> bool:
    """Whether a CancelledError comes from outside, not from the code that was called."""
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0
