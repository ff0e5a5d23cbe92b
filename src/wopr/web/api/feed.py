"""What happens in a queue, read once for all who listen; nothing is read while nobody does.

The log has a number for each transition, and who listens is told it: so one that comes back
goes on where it was, whichever process owns the file by then.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic_core import to_json

from wopr.domain.errors import QueryError, StorageError
from wopr.insights import queries
from wopr.queue.queue import TaskQueue

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
PAGE = 1_000
"""So many transitions are read together."""
MOST_BEHIND = 20_000
"""So many transitions are made up for; of more, a gap is told."""
MOST_WAITING = 5_000
"""So many events wait for one who listens; who is slower than that is cut off."""
MOST_LISTENERS = 500
TOGETHER = 100
"""So many events that wait for somebody are sent in one piece."""
_NO_END = 2**62


class Event(NamedTuple):
    """A transition as it is told."""

    seq: int
    name: str | None
    category: str | None
    status: str
    task_id: str
    text: bytes
    """As it is sent."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events somebody listens to: what is empty is no condition."""

    name: frozenset[str] = frozenset()
    category: frozenset[str] = frozenset()
    status: frozenset[str] = frozenset()
    task: str | None = None

    def __call__(self, event: Event) -> bool:
        """Whether it is wanted."""
        return (
            (not self.name or event.name in self.name)
            and (not self.category or event.category in self.category)
            and (not self.status or event.status in self.status)
            and self.task in (None, event.task_id)
        )


@dataclass(eq=False)
class Listener:
    """One who listens, and what waits for it."""

    wanted: Wanted
    waiting: deque[bytes] = field(default_factory=deque)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    cut: str | None = None
    """Why it is told nothing more."""

    def tell(self, text: bytes) -> None:
        """Let a text wait for it; cut it off if it reads too slowly."""
        if self.cut is None and len(self.waiting) >= MOST_WAITING:
            self.waiting.clear()
            self.cut = (
                f"{MOST_WAITING:,} events waited for this client, which reads them too slowly. "
                "Come back with the id of the last one that you have: what is missing is told then."
            )
        if self.cut is None:
            self.waiting.append(text)
        self.more.set()


class Feed:
    """Reads the log of one queue while somebody listens."""

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue
        self._listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._at = 0
        self._stalled = False

    @property
    def full(self) -> bool:
        """Whether as many listen as may."""
        return len(self._listeners) >= MOST_LISTENERS

    async def newest(self) -> int:
        """Return the number of the newest transition.

        Raises:
            QueryError: this storage has no log that can be asked.
            StorageError: it can't be read now.
        """
        found: int = (await self._queue.sql(queries.NEWEST_TRANSITION)).scalar()
        return found

    async def listen(self, wanted: Wanted, newest: int, last: int | None) -> AsyncIterator[bytes]:
        """Give what happens, after the transition ``last`` if that is given.

        Args:
            wanted: which of it.
            newest: the number of the newest transition, as it was just read.
            last: the number of the last one that the listener has.
        """
        listener = Listener(wanted)
        if not self._listeners:
            self._at = max(self._at, newest)
        self._listeners.add(listener)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="wopr-events")
        begin = self._at
        try:
            yield sent("begin", {"seq": begin}, begin if last is None else None)
            if last is not None:
                async for text in self._missed(wanted, last, begin):
                    yield text
            async for text in _heard(listener):
                yield text
        finally:
            self._listeners.discard(listener)

    async def _missed(self, wanted: Wanted, last: int, begin: int) -> AsyncIterator[bytes]:
        """Give what somebody missed, up to where it listens from."""
        first = max(last, begin - MOST_BEHIND)
        if last > begin or first > last:
            yield sent("gap", {"from": last, "to": first if first > last else begin}, None)
        at = first
        while at < begin:
            events = await self._read(at, begin)
            if text := b"".join(event.text for event in filter(wanted, events)):
                yield text
            if len(events) < PAGE:
                return
            at = events[-1].seq

    async def _run(self) -> None:
        """Read on, for as long as somebody listens."""
        while self._listeners:
            try:
                full = await self._look()
            except (StorageError, QueryError) as error:
                self._stall(str(error))
                full = False
            if not full:
                await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> bool:
        """Tell what happened since the last look; whether there is more."""
        at = self._at
        events = await self._read(at, _NO_END)
        if at != self._at:  # meanwhile all have left, and who came listens from later on
            return True
        if self._stalled:
            self._stalled = False
            self._tell_all(sent("live", {}, None))
        if not events:
            return False
        self._at = events[-1].seq
        for listener in self._listeners:
            for event in filter(listener.wanted, events):
                listener.tell(event.text)
        return len(events) == PAGE

    def _stall(self, why: str) -> None:
        """Tell once that nothing can be read, and why; it is tried again."""
        if not self._stalled:
            self._stalled = True
            log.warning("What happens can't be read now, and is tried again: %s", why)
            self._tell_all(sent("stalled", {"detail": why[:1_000]}, None))

    def _tell_all(self, text: bytes) -> None:
        for listener in self._listeners:
            listener.tell(text)

    async def _read(self, after: int, until: int) -> list[Event]:
        found = await self._queue.sql(queries.TRANSITIONS_SINCE, after, until, PAGE)
        return [event_of(row) for row in found.rows]


async def _heard(listener: Listener) -> AsyncIterator[bytes]:
    """Give what waits for somebody, as it comes; in the end why nothing more does."""
    while True:
        await listener.more.wait()
        listener.more.clear()
        while listener.waiting:
            some = min(len(listener.waiting), TOGETHER)
            yield b"".join(listener.waiting.popleft() for _ in range(some))
            await asyncio.sleep(0)  # for the event loop to learn that nobody listens any more
        if listener.cut is not None:
            yield sent("cut", {"detail": listener.cut}, None)
            return


def event_of(row: tuple[Any, ...]) -> Event:
    """Return the event of a row of :data:`wopr.insights.queries.TRANSITIONS_SINCE`."""
    seq, task_id, name, category, before, after, attempt, at, worker, reason, error = row
    moment: datetime = at.replace(tzinfo=UTC)
    said = {
        "seq": seq,
        "task_id": task_id,
        "name": name,
        "category": category,
        "from_status": before,
        "to_status": after,
        "attempt": attempt,
        "occurred_at": moment,
        "worker": worker,
        "reason": reason,
        "error": error,
    }
    return Event(seq, name, category, after, task_id, sent("transition", said, seq))


def sent(kind: str, said: dict[str, Any], number: int | None) -> bytes:
    """Return an event as it is sent: JSON has no line break of its own."""
    head = b"" if number is None else b"id: %d\n" % number
    return b"%sevent: %s\ndata: %s\n\n" % (head, kind.encode(), to_json(said))


def feed_of(state: Any, make: Callable[[], Feed]) -> Feed:
    """Return the one feed of an application, new if need be."""
    if not hasattr(state, "feed"):
        state.feed = make()
    found: Feed = state.feed
    return found
