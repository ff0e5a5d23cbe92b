"""A glance: questions that belong together, such as those of one page.

Each question sees what was handed over before it, so while a queue works each one waits until that
is in the tables. In a glance the first one does, and the others see at least what it saw.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_Done = dict[Hashable, "asyncio.Future[None]"]
_done: ContextVar[_Done | None] = ContextVar("wopr_glance", default=None)


@contextmanager
def glance() -> Iterator[None]:
    """Let all that is asked here, and by what is started here, be one glance. It only looks."""
    token = _done.set({})
    try:
        yield
    finally:
        _done.reset(token)


async def once(key: Hashable, do: Callable[[], Awaitable[object]]) -> None:
    """Do something, in a glance only if it was not done yet for this key."""
    done = _done.get()
    if done is None:
        await do()
        return
    if key not in done:
        done[key] = asyncio.ensure_future(_do(do))
        done[key].add_done_callback(_heard)
    await asyncio.shield(done[key])


async def _do(do: Callable[[], Awaitable[object]]) -> None:
    await do()


def _heard(done: asyncio.Future[None]) -> None:
    """Look at an error that nobody waits for any more."""
    if not done.cancelled():
        done.exception()
