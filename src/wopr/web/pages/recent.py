"""What several pages want to know at once is asked once, and kept for seconds.

What takes long to find is kept for longer, so that nobody who looks costs more than a part of the
time, and who opens a page gets the newest answer at once: it is asked anew meanwhile, and a live
page shows that as soon as it is there. A page says of when the oldest of its answers is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar, cast

from starlette.requests import Request

from wopr.domain.clock import Clock, SystemClock
from wopr.ports.glance import glance

T = TypeVar("T")

MOST_KEPT = 200
"""So many answers are kept; the oldest goes first."""
SLOW_SECONDS = 0.1
"""What took longer to find is kept for longer, and shown to whoever opens a page."""
SHARE = 20
"""It is kept so many times as long as it took: it is asked for 5 % of the time at most,"""
LONGEST = 20.0
"""but for no more than so many seconds, unless it is asked less often anyway."""
LATE_SECONDS = 60.0
"""So much older may be what is shown to whoever opens a page."""
TOLD_SECONDS = 5.0
"""Of what is older it is told of when it is."""


@dataclass(frozen=True, slots=True, order=True)
class Asked:
    """When something was asked."""

    at: float
    """By the clock that never goes back."""
    moment: datetime
    """Aware, in UTC."""


@dataclass(slots=True)
class Look:
    """One look at a page, or one answer that others are a part of."""

    hurried: bool
    """Whether it does not wait for what is known of some seconds ago."""
    oldest: Asked | None = None

    def sees(self, asked: Asked) -> None:
        """Note when a part of it was asked."""
        self.oldest = asked if self.oldest is None else min(self.oldest, asked)


_look: ContextVar[Look | None] = ContextVar("wopr_look", default=None)


@contextmanager
def looking(*, hurried: bool) -> Iterator[Look]:
    """Let all that is asked here, and by what is started here, be one look."""
    look = Look(hurried)
    token = _look.set(look)
    try:
        yield look
    finally:
        _look.reset(token)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered."""

    value: Any
    asked: Asked
    until: float
    """It is not asked anew before."""
    slow: bool


class Recent:
    """Answers of the last seconds. Nothing is asked while nobody wants to know."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._kept: dict[Hashable, Answer] = {}
        self._asked: dict[Hashable, asyncio.Future[Answer]] = {}

    async def get(
        self,
        key: Hashable,
        seconds: float,
        ask: Callable[[], Awaitable[T]],
        *,
        late: float = LATE_SECONDS,
    ) -> T:
        """Return the answer of a question, at most so many seconds old; who comes late waits.

        Args:
            key: of the question.
            seconds: so old an answer may be; an older one, if it took long to find.
            ask: asks it.
            late: so much older an answer may be for a look that is hurried, if it took long.
        """
        look, now = _look.get(), self._clock.monotonic()
        hurried = look is not None and look.hurried
        answer = self._kept.get(key)
        if answer is None or answer.until < now:
            if hurried and answer is not None and answer.slow and now <= answer.until + late:
                self._asking(key, seconds, partial(_by_itself, ask), hurried=False)
            else:
                asking = self._asking(key, seconds, ask, hurried=hurried)
                answer = await asyncio.shield(asking)
        if look is not None:
            look.sees(answer.asked)
        return cast("T", answer.value)

    def known_of(self, look: Look) -> datetime | None:
        """Return of when the oldest part of a look is, if that is some time ago."""
        oldest = look.oldest
        if oldest is None or self._clock.monotonic() - oldest.at <= TOLD_SECONDS:
            return None
        return oldest.moment

    def forget(self) -> None:
        """Keep nothing: somebody has changed something, and wants to see it."""
        self._kept.clear()
        self._asked.clear()

    def _asking(
        self, key: Hashable, seconds: float, ask: Callable[[], Awaitable[Any]], *, hurried: bool
    ) -> asyncio.Future[Answer]:
        """Return the question that is being asked; it goes on also if nobody waits for it."""
        known = self._asked.get(key)
        if known is None:
            known = asyncio.ensure_future(self._answer(seconds, ask, hurried=hurried))
            self._asked[key] = known
            known.add_done_callback(partial(self._answered, key))
            while len(self._asked) > MOST_KEPT:
                del self._asked[next(iter(self._asked))]
        return known

    async def _answer(
        self, seconds: float, ask: Callable[[], Awaitable[Any]], *, hurried: bool
    ) -> Answer:
        asked = Asked(self._clock.monotonic(), self._clock.now())
        with looking(hurried=hurried) as look:
            look.sees(asked)
            value = await ask()
        now = self._clock.monotonic()
        took = now - asked.at
        slow = took > SLOW_SECONDS
        kept = max(seconds, min(LONGEST, SHARE * took)) if slow else seconds
        return Answer(value, look.oldest or asked, now + kept, slow)

    def _answered(self, key: Hashable, done: asyncio.Future[Answer]) -> None:
        failed = done.cancelled() or done.exception() is not None
        if self._asked.get(key) is not done:  # somebody has changed something since
            return
        del self._asked[key]
        self._kept.pop(key, None)
        if failed:
            return
        self._kept[key] = done.result()
        while len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]


async def _by_itself(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask what the page that wants to know does not wait for."""
    with glance():
        return await ask()


def recent_of(request: Request) -> Recent:
    """Return the answers that the application keeps."""
    state = request.app.state
    if not hasattr(state, "recent"):
        state.recent = Recent()
    return cast("Recent", state.recent)
