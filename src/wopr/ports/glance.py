"""A glance: questions that belong together, such as those of one page.

Each question sees what was handed over before it, so while a queue works each one waits until that
is in the tables. In a glance the first one does, and the others see at least what it saw. It does
not wait either where what there is is enough: who looks again in a moment need not see the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count

MOST_FOLLOWED = 16
"""So many glances of another process are known here, the newest."""

_numbers = count(1)


@dataclass(slots=True)
class _Glance:
    number: int
    """By which this process names it to the one that answers."""
    done: dict[Hashable, asyncio.Future[None]] = field(default_factory=dict)
    over: bool = False
    """What was begun in it and goes on, such as an engine that it opened, is of none then."""


_glance: ContextVar[_Glance | None] = ContextVar("wopr_glance", default=None)


@contextmanager
def glance() -> Iterator[None]:
    """Let all that is asked here, and by what is started here, be one glance. It only looks."""
    one = _Glance(next(_numbers))
    try:
        with _within(one):
            yield
    finally:
        one.over = True


@contextmanager
def _within(one: _Glance | None) -> Iterator[None]:
    token = _glance.set(one)
    try:
        yield
    finally:
        _glance.reset(token)


def number() -> int | None:
    """Return the number of the glance that goes on here; ``None``: there is none."""
    found = _glance.get()
    return None if found is None or found.over else found.number


class Followed:
    """The glances of another process, whose questions are answered here."""

    def __init__(self) -> None:
        self._known: dict[int, _Glance] = {}

    @contextmanager
    def within(self, number: object) -> Iterator[None]:
        """Let what is asked be of the glance with that number; of none, if it is no number."""
        if type(number) is not int:
            with _within(None):  # nor of one in which this process began to listen
                yield
            return
        one = self._known.pop(number, None) or _Glance(number)
        self._known[number] = one  # the newest is the last
        while len(self._known) > MOST_FOLLOWED:
            del self._known[next(iter(self._known))]
        with _within(one):
            yield


async def once(
    key: Hashable,
    do: Callable[[], Awaitable[object]],
    *,
    unless: Callable[[], bool] = lambda: False,
) -> None:
    """Do something, in a glance only if it was not done yet for this key.

    Args:
        key: of what is done.
        do: does it.
        unless: says that in a glance it need not be done now.
    """
    found = _glance.get()
    if found is None or found.over:
        await do()
        return
    done = found.done
    if key not in done:
        done[key] = asyncio.ensure_future(_nothing() if unless() else _do(do))
        done[key].add_done_callback(_heard)
    await asyncio.shield(done[key])


async def _nothing() -> None:
    """Be done."""


async def _do(do: Callable[[], Awaitable[object]]) -> None:
    await do()


def _heard(done: asyncio.Future[None]) -> None:
    """Look at an error that nobody waits for any more."""
    if not done.cancelled():
        done.exception()
