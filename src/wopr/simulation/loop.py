"""An event loop on virtual time: when nothing is ready, the clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable
from typing import Any

from wopr.simulation.clock import VirtualClock

MOST_STEPS = 100_000
"""So many turns of the loop may be made at one moment of virtual time."""
BURIAL_STEPS = 1_000
BURIAL_SECONDS = 0.001
_WAKES = "_set_result_unless_cancelled"
"""What ``asyncio.sleep`` has called when its time is over."""


class StandstillError(Exception):
    """The simulation can't go on: nothing is left that would ever happen, or time stands still."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks in the order in which they became ready; starts no thread, does no I/O.

    Args:
        clock: moved on when nothing is ready.
        step: called before each turn; what it raises ends the run.
    """

    def __init__(self, clock: VirtualClock, step: Callable[[], None]) -> None:
        super().__init__()
        self._clock = clock
        self._step = step
        self._selector = self  # the base class asks it what came in, and how long to wait
        self._clock_resolution = 1e-7
        self._here = 0
        self._sleeps: weakref.WeakKeyDictionary[asyncio.Future[Any], float] = (
            weakref.WeakKeyDictionary()
        )

    def time(self) -> float:
        """Return the virtual seconds since the begin."""
        return self._clock.seconds

    def select(self, timeout: float | None) -> list[Any]:
        """Return no events: let the time pass for which nothing is to be done.

        Raises:
            StandstillError: there is no timer either, or this moment does not end.
        """
        self._step()
        if timeout is None:
            raise StandstillError(
                "Nothing is left that could ever happen: everybody waits for somebody else, or for "
                "another thread or a socket, which there are none of in virtual time."
            )
        if timeout > 0:
            self._here = 0
            self._clock.seconds += timeout
            return []
        self._here += 1
        if self._here > MOST_STEPS:
            raise StandstillError(
                f"The event loop made {MOST_STEPS:,} turns and virtual time stands still: some "
                "code goes round and round without ever waiting for a while."
            )
        return []

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """Call something then; see the base class."""
        if args and getattr(callback, "__name__", "") == _WAKES:
            self._sleeps[args[0]] = when
        return super().call_at(when, callback, *args, context=context)

    def sleeps_until(self, future: asyncio.Future[Any]) -> float | None:
        """Return when a future ends that is the rest of an ``asyncio.sleep``; else ``None``."""
        return self._sleeps.get(future)

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Call a function here and now: there are no other threads."""
        future: asyncio.Future[Any] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whoever awaits it gets it
            future.set_exception(error)
        return future

    def bury(self) -> None:
        """Let go of all tasks of a process that died, as quietly as can be. It is not closed yet.

        What they do on their way out comes to nothing: their storage is gone.
        """
        self.set_exception_handler(lambda loop, context: None)
        before, left = self._clock.seconds, BURIAL_STEPS

        def step() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise StandstillError("They do not let go.")

        self._step, self._here = step, 0
        with contextlib.suppress(StandstillError):
            while tasks := asyncio.all_tasks(self):
                for task in tasks:
                    task.cancel()
                self.call_later(BURIAL_SECONDS, self.stop)
                self.run_forever()
        self._clock.seconds = before

    # -- what the base class asks for -------------------------------------------

    def _process_events(self, event_list: list[Any]) -> None:
        """Do nothing: there are none."""

    def _write_to_self(self) -> None:
        """Do nothing: nobody has to be woken up."""
