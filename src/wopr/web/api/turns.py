"""Questions that read much: so many are answered at once, in all and of one caller."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import cast

from starlette.exceptions import HTTPException
from starlette.requests import Request

MOST_AT_ONCE = 4
"""So many run at once in this process: half of what the storage answers at once, and each takes a
core as long as it runs."""
MOST_OF_ONE = 2
"""So many of them are one caller's."""
PATIENCE = 5.0
"""So many seconds one waits for its turn."""
_WHICH = "series, estimates, SQL and what was at a moment"


class Turns:
    """Whose questions run now."""

    def __init__(self) -> None:
        self._running = Counter[str]()
        self._ended = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Have a turn, as soon as there is one.

        Raises:
            HTTPException: there was none for seconds.
        """
        async with self._ended:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._ended.wait_for(lambda: self._full(caller) is None)
            if (full := self._full(caller)) is not None:
                raise full
            self._running[caller] += 1
        try:
            yield
        finally:
            self._running[caller] -= 1
            if not self._running[caller]:
                del self._running[caller]
            async with self._ended:
                self._ended.notify_all()

    def _full(self, caller: str) -> HTTPException | None:
        if self._running.get(caller, 0) >= MOST_OF_ONE:
            return HTTPException(
                429,
                f"{MOST_OF_ONE} costly questions of {caller} run already, and none ended within "
                f"{PATIENCE:g} s: {_WHICH}. Ask for one after the other.",
            )
        if self._running.total() >= MOST_AT_ONCE:
            return HTTPException(
                503,
                f"{MOST_AT_ONCE} costly questions run already, and none ended within "
                f"{PATIENCE:g} s: {_WHICH}. Ask again soon.",
            )
        return None


def turns_of(request: Request) -> Turns:
    """Return those of the application."""
    state = request.app.state
    if not hasattr(state, "turns"):
        state.turns = Turns()
    return cast("Turns", state.turns)
