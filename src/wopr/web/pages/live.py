"""Pages that change while somebody looks: each is made once for all who look at the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from typing import cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from wopr.domain.clock import Clock, SystemClock
from wopr.domain.errors import WoprError
from wopr.domain.spoken import local

log = logging.getLogger(__name__)

EVERY = 2.0
"""So many seconds pass between two states of a page; more if making one takes long."""
SHARE = 20
"""A page rests so many times as long as it took to make: 5 % of a core,"""
LONGEST_REST = 10.0
"""but no longer than so many seconds: who looks is to see what happens."""
LIFE = 600.0
"""A stream ends after so many seconds; the page opens the next one."""
MOST_STREAMS = 1_000
MOST_SCENES = 200
"""So many different pages are made anew at once."""

Make = Callable[[], Awaitable[str]]


class Scene:
    """One page as it is now, for all who look at it. It rests while nobody does."""

    def __init__(self, make: Make, clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._turn = asyncio.Condition()
        self._number = 0
        self._text = ""
        self._beat = ""
        self._trouble = ""
        self.watchers = 0
        self._task: asyncio.Task[None] | None = None

    async def watch(self) -> AsyncGenerator[str]:
        """Give what to send: what changed, and signs of life. The newest state only."""
        self.watchers += 1
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())
        seen, sent = 0, ""
        try:
            while True:
                async with self._turn:
                    await self._turn.wait_for(lambda: self._number > seen)  # noqa: B023
                    seen, text, beat, trouble = self._number, self._text, self._beat, self._trouble
                if text and text != sent:
                    yield message(text)
                    sent = text
                yield message(trouble, "trouble") if trouble else message(beat, "beat")
        finally:
            self.watchers -= 1
            if not self.watchers:
                self._task.cancel()
                self._task = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began, trouble = loop.time(), ""
            try:
                self._text = await self._make()
                self._beat = local(self._clock.now())
            except (WoprError, HTTPException, TimeoutError, OSError) as error:
                trouble = str(error) or type(error).__name__
            except Exception as error:
                log.exception("A live page could not be made.")
                trouble = f"{type(error).__name__}: see the log of the server."
            async with self._turn:
                self._trouble = trouble
                self._number += 1
                self._turn.notify_all()
            await asyncio.sleep(max(EVERY, min(LONGEST_REST, SHARE * (loop.time() - began))))


class Hub:
    """All pages that somebody looks at now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._scenes: dict[Hashable, Scene] = {}

    @property
    def watchers(self) -> int:
        """How many streams are open."""
        return sum(scene.watchers for scene in self._scenes.values())

    def full(self, key: Hashable) -> bool:
        """Whether one more is too many."""
        if self.watchers >= MOST_STREAMS:
            return True
        return key not in self._scenes and len(self._scenes) >= MOST_SCENES

    async def stream(self, key: Hashable, make: Make) -> AsyncGenerator[str]:
        """Give what one of them sends, until nobody takes it, or its time is over."""
        scene = self._scenes.setdefault(key, Scene(make, self._clock))
        states = scene.watch()
        until = asyncio.get_running_loop().time() + LIFE
        try:
            while True:
                async with asyncio.timeout_at(until):  # not around what takes it: that is not ours
                    one = await anext(states)
                yield one
        except TimeoutError:
            return
        finally:
            await states.aclose()
            if not scene.watchers:
                self._scenes.pop(key, None)


def message(text: str, event: str = "") -> str:
    """Return a server-sent event; one without a name replaces the page."""
    name = f"event: {event}\n" if event else ""
    lines = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
    return f"{name}{lines}\n"


def hub_of(request: Request) -> Hub:
    """Return what the application shows live."""
    state = request.app.state
    if not hasattr(state, "hub"):
        state.hub = Hub(SystemClock())
    return cast("Hub", state.hub)


def streaming(request: Request, key: Hashable, make: Make) -> Response:
    """Return the stream of a page, or that there are too many."""
    hub = hub_of(request)
    if hub.full(key):
        return Response(
            f"More than {MOST_STREAMS:,} live pages are open; reload to see the newest state.",
            503,
            headers={"retry-after": "30"},
        )
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(hub.stream(key, make), media_type="text/event-stream", headers=headers)
