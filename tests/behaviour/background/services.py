"""Services for tests: they note what is done to them."""

from __future__ import annotations

import asyncio
from typing import Any

from support.queues import PATIENCE
from wopr.background import BackgroundPriority, TaskState


class Service:
    """Somebody's own service: nothing but the calls of the protocol."""

    def __init__(
        self,
        name: str = "service",
        priority: int = BackgroundPriority.NORMAL,
        calls: list[str] | None = None,
    ) -> None:
        """Be IDLE; note calls as ``"name.call"`` in ``calls``."""
        self.task_name = name
        self.priority = priority
        self.state = TaskState.IDLE
        self.calls = [] if calls is None else calls
        self.raises: dict[str, BaseException] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.entered = asyncio.Event()

    def __repr__(self) -> str:
        return f"<{self.task_name} {self.state}>"

    async def _called(self, call: str, state: TaskState) -> None:
        self.calls.append(f"{self.task_name}.{call}")
        if call in self.raises:
            raise self.raises[call]
        if call in self.gates:
            self.entered.set()
            await self.gates[call].wait()
        self.state = state

    async def start(self) -> None:
        """Run."""
        await self._called("start", TaskState.RUNNING)

    async def stop(self) -> None:
        """Stop."""
        await self._called("stop", TaskState.STOPPED)

    async def suspend(self) -> None:
        """Pause."""
        await self._called("suspend", TaskState.SUSPENDED)

    async def resume(self) -> None:
        """Go on."""
        await self._called("resume", TaskState.RUNNING)

    def get_progress(self) -> dict[str, Any]:
        """Tell whether it runs."""
        return {"running": self.state is TaskState.RUNNING}


class Notifications:
    """The part of a notification service that the queue task needs."""

    def __init__(self, *handlers: Any, maxsize: int = 0) -> None:
        """Have these handlers and an empty queue."""
        self.external_handlers = list(handlers)
        self.external_handler_queue: asyncio.Queue[Any] = asyncio.Queue(maxsize)

    def emit(self, *events: Any) -> None:
        """Put events into the queue."""
        for event in events:
            self.external_handler_queue.put_nowait(event)


class Inbox:
    """A handler that keeps what it gets, and may be made to wait."""

    def __init__(self) -> None:
        """Be open and empty."""
        self.__name__ = "inbox"
        self.events: list[Any] = []
        self.begun: list[Any] = []
        self.open = asyncio.Event()
        self.open.set()
        self._changed = asyncio.Condition()

    async def __call__(self, event: Any) -> None:
        """Take an event, once open."""
        self.begun.append(event)
        await self._tell()
        await self.open.wait()
        self.events.append(event)
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def has(self, count: int) -> list[Any]:
        """Wait until so many events have been taken."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.events) >= count)
        return self.events

    async def has_begun(self, count: int) -> None:
        """Wait until so many events have been begun with."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.begun) >= count)


async def some_time() -> None:
    """Let everything happen that can happen without anything new from outside."""
    for _ in range(50):
        await asyncio.sleep(0)
