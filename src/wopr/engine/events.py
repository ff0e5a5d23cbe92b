"""Tell the application's own handlers what happened to tasks."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any, Protocol

from wopr.domain.errors import InvalidCallError
from wopr.domain.events import EVENTS, KINDS, EventHandler, TaskEvent, event_of
from wopr.domain.guarded import guarded
from wopr.domain.jsontext import shown
from wopr.domain.origin import executed_anew
from wopr.domain.status import Move
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.engine.shared import Observer

log = logging.getLogger("wopr.events")

ALL = TaskEvent.kind
END_SECONDS = 5.0
"""So long a shutdown waits for handlers that are coroutines."""


class Observed(Protocol):
    """An engine, as far as this module is concerned."""

    observers: list[Observer]


class Events:
    """The handlers of one queue. Costs nothing while there are none."""

    def __init__(self) -> None:
        self._handlers: dict[str, tuple[tuple[EventHandler], ...]] = {}
        self._by_move: dict[Move, tuple[tuple[EventHandler], ...]] = {}
        self._shared: Observed | None = None
        self._running: set[asyncio.Task[None]] = set()

    def on(self, kind: object, handler: EventHandler) -> Callable[[], None]:
        """Call ``handler`` with each event of a kind; return what ends that.

        Raises:
            InvalidCallError: there is no such kind, or the handler can't be called.
        """
        if kind != ALL and kind not in KINDS:
            raise InvalidCallError(
                f"There is no event {shown(kind)}. There are {', '.join(KINDS)}, and {ALL!r} for "
                "all of them."
            )
        if not callable(handler):
            raise InvalidCallError(
                f"A handler of events is a function or a coroutine function that takes the event, "
                f"not {shown(handler)}."
            )
        name = str(kind)
        entry = (handler,)  # one of its own, should the same handler be given twice
        before = self._handlers.get(name, ())
        kept = (known for known in before if not executed_anew(known[0], handler))
        self._handlers[name] = (*kept, entry)
        self._observe()

        def off() -> None:
            left = [one for one in self._handlers.get(name, ()) if one is not entry]
            self._handlers[name] = tuple(left)
            self._observe()

        return off

    def attach(self, shared: Observed) -> None:
        """Listen to an engine that is open from now on."""
        self._shared = shared
        self._observe()

    async def detach(self) -> None:
        """Wait a little for handlers that run, then let go of the engine."""
        self._shared = None
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=END_SECONDS)
            for task in late:
                log.warning("An event handler did not end within %g s: %s", END_SECONDS, task)
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def begin_anew(self) -> None:
        """Listen to no engine, as in a process that begins; the handlers stay."""
        self._shared = None
        self._running.clear()

    def _observe(self) -> None:
        """Be told by the engine of what somebody wants to know, and of nothing else."""
        every = self._handlers.get(ALL, ())
        self._by_move = {
            move: found
            for move, event in EVENTS.items()
            if (found := (*self._handlers.get(event.kind, ()), *every))
        }
        shared = self._shared
        if shared is None:
            return
        if self._by_move and self._told not in shared.observers:
            shared.observers.append(self._told)
        elif not self._by_move and self._told in shared.observers:
            shared.observers.remove(self._told)

    def _told(self, record: TaskRecord, transition: Transition) -> None:
        handlers = self._by_move.get(transition.move)
        if handlers is None:
            return
        event = event_of(record, transition)
        for (handler,) in handlers:
            try:
                answer = handler(event)
            except BaseException as error:  # noqa: BLE001 - it must not end what follows a commit
                _complain(event, error)
                continue
            if inspect.isawaitable(answer):
                task = asyncio.ensure_future(_awaited(answer, event))
                self._running.add(task)
                task.add_done_callback(self._running.discard)


async def _awaited(answer: Any, event: TaskEvent) -> None:
    try:
        await answer
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit would end the event loop
        _complain(event, error)


def _complain(event: TaskEvent, error: BaseException) -> None:
    """Log the error; logging asks it for its text, and may get another one."""
    text = "A handler of %s failed; task %s."
    guarded(lambda: log.error(text, event.kind, event.task_id, exc_info=error), None)
