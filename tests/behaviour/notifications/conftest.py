"""A queue with a notification service, a clock that the test sets, and a real HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from behaviour.notifications.receiver import Receiver, receiving
from support.queues import PATIENCE, SteppableClock
from wopr import Settings, TaskQueue
from wopr.notifications import NotificationEvent


@pytest.fixture
def queue(tmp_path: Path, clock: SteppableClock) -> TaskQueue:
    """Return a queue over a new file."""
    settings = Settings(scheduler=False)
    return TaskQueue(
        enabled=True, database=tmp_path / "tasks.duckdb", settings=settings, clock=clock
    )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a running HTTP server."""
    with receiving() as running:
        yield running


class Inbox:
    """A handler that keeps what it is given, and fails as often as it is told to."""

    def __init__(self, name: str = "inbox", failures: int = 0) -> None:
        """Be empty."""
        self.name = name
        self.failures = failures
        self.attempts = 0
        self.events: list[NotificationEvent] = []
        self._changed = asyncio.Condition()

    async def __call__(self, event: NotificationEvent) -> None:
        """Take an event, or fail."""
        async with self._changed:
            self.attempts += 1
            self._changed.notify_all()
            if self.failures:
                self.failures -= 1
                raise ConnectionError(f"{self.name} is closed")
            self.events.append(event)

    @property
    def titles(self) -> list[str]:
        """The titles of what came, in order."""
        return [event.title for event in self.events]

    async def wait(self, count: int = 1) -> list[NotificationEvent]:
        """Wait until so many events have come; return them all."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.events) >= count)
        return self.events

    async def tried(self, count: int) -> None:
        """Wait until so many deliveries were tried, failed ones too."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self.attempts >= count)


@pytest.fixture
def inbox() -> Inbox:
    """Return an empty inbox."""
    return Inbox()
