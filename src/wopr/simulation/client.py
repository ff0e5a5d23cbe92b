"""Somebody outside of the process that dies: goes on afterwards, with the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

from wopr.domain.errors import OwnerGoneError
from wopr.simulation.loop import VirtualLoop

MOST_WORDS = 100
"""So often one that is let go may wait for something more."""
_PACKAGE = str(Path(__file__).parent.parent)
_GONE = (
    "The simulated process died while it was asked. What it was asked may be done or not: ask "
    "again, a call that enqueues with a unique_key=."
)


class Client:
    """Runs one coroutine on one event loop after the other.

    Where it sleeps when the process dies, it sleeps on. Where it waits for anything else, that
    raises :class:`OwnerGoneError`, as it does for a client at the owner's socket.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.over = False
        """Whether it has ended."""
        self.left = False
        """Whether the process that it was asking has died."""
        self.coroutine = coroutine
        self._awaited: Any = None
        self._until: float | None = None
        self._lost: object | None = None  # a call to a process that died
        self._begun = self._gone = False

    async def run(self, loop: VirtualLoop) -> None:
        """Go on until it ends, or the process of this loop dies; raise what it raises."""
        resume = await self._arrive(loop) if self._begun else self.coroutine.send
        self.left = self._gone = False
        self._begun = True
        await _Steps(self, loop, resume)

    async def _arrive(self, loop: VirtualLoop) -> Callable[[Any], Any]:
        """Return how to go on in another life."""
        if self._gone:
            return lambda _: self.coroutine.throw(OwnerGoneError(_GONE))
        if self._until is not None:
            await asyncio.sleep(self._until - loop.time())
        return self.coroutine.send

    def leave(self) -> None:
        """Let go of the event loop of a process that died; what it still does there is its own."""
        if self.left or not self._begun or self.over:
            return
        self.left = True
        self._lost = _asked(self.coroutine)
        awaited = self._awaited
        if awaited is not None and awaited.cancelled():
            self._gone = True
        elif awaited is not None and not awaited.done():
            self._gone = self._until is None or _asked(self.coroutine) is not None
            if not self._gone:  # its sleep goes on in the next life; here nobody shall end it
                awaited.set_result(None)

    async def end(self) -> None:
        """Let it go, on the event loop that runs: what it begins on its way out is left there."""
        self.left = True
        if not self._begun:
            self.coroutine.close()
        for _ in range(MOST_WORDS if self._begun and not self.over else 0):
            try:
                self.coroutine.throw(asyncio.CancelledError())
            except BaseException:  # noqa: BLE001 - whatever its last word is
                break
        self.over = True

    def is_of_the_dead(self, awaited: Any, loop: VirtualLoop) -> bool:
        """Whether it waits for something that went with the last process."""
        if awaited is not None and awaited.get_loop() is not loop:
            return True
        return self._lost is not None and _asked(self.coroutine) is self._lost

    def went_to(self, awaited: Any, loop: VirtualLoop) -> None:
        """Note what it waits for now."""
        self._awaited = awaited
        self._until = None if awaited is None else loop.sleeps_until(awaited)


def _asked(coroutine: Any) -> object | None:
    """Return the call of wopr that a coroutine waits for; ``None`` if it waits for none."""
    while (coroutine := getattr(coroutine, "cr_await", None)) is not None:
        code = getattr(coroutine, "cr_code", None)
        if code is not None and code.co_filename.startswith(_PACKAGE):
            return coroutine  # type: ignore[no-any-return]
    return None


class _Steps:
    """Awaits the coroutine of a client step by step."""

    def __init__(self, client: Client, loop: VirtualLoop, resume: Callable[[Any], Any]) -> None:
        self._client, self._loop, self._resume = client, loop, resume

    def __await__(self) -> Generator[Any, Any, None]:
        client, resume = self._client, self._resume
        value: Any = None
        while True:
            try:
                awaited = resume(value)
            except StopIteration:
                client.over = True
                return
            except BaseException:
                client.over = True
                raise
            if client.is_of_the_dead(awaited, self._loop):
                resume, value = client.coroutine.throw, OwnerGoneError(_GONE)
                continue
            client.went_to(awaited, self._loop)
            try:
                value = yield awaited
                if client.left:
                    return
                resume = client.coroutine.send
            except BaseException as error:
                if client.left:
                    raise
                resume, value = client.coroutine.throw, error
