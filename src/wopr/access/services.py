"""Services of the application that run beside the workers of a queue."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, TypeVar

log = logging.getLogger(__name__)

END_SECONDS = 5.0
"""So long a shutdown waits for one service."""


class Service(Protocol):
    """Something with a life of its own that needs the queue."""

    async def start(self) -> None:
        """Begin; called again it does nothing."""
        ...

    async def stop(self) -> None:
        """End. The queue is still open."""
        ...


S = TypeVar("S", bound=Service)


class Services:
    """Starts services with the first workers, and stops them before the queue closes."""

    def __init__(self) -> None:
        self._services: list[Service] = []
        self._started: list[Service] = []

    def add(self, service: Service) -> None:
        """Start it with the next workers."""
        if service not in self._services:
            self._services.append(service)

    async def start(self) -> None:
        """Start what is not started. One that fails does not hold up the others."""
        for service in self._services:
            if service in self._started:
                continue
            self._started.append(service)  # it may start workers itself, which come here again
            try:
                await service.start()
            except BaseException as error:  # cancelled too: the next workers start it
                self._started.remove(service)
                if not isinstance(error, Exception):
                    raise
                log.exception("%s could not be started; the workers go on without it.", service)

    async def stop(self) -> None:
        """Stop what was started, the last one first; one that hangs is cancelled."""
        while self._started:
            service = self._started.pop()
            try:
                async with asyncio.timeout(END_SECONDS):
                    await service.stop()
            except TimeoutError:
                log.exception("%s was cancelled: it did not stop in %g s.", service, END_SECONDS)
            except Exception:
                log.exception("%s could not be stopped.", service)

    def begin_anew(self) -> None:
        """Have started none, as a process that begins."""
        self._started.clear()
