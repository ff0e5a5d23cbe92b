"""Work in the foreground holds the background categories back."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Foreground:
    """Counts who holds it, in all threads and event loops of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = 0
        self.on_release: Callable[[], None] | None = None
        """Called, in any thread, when nobody holds it any more."""

    @property
    def active(self) -> bool:
        """Whether anybody holds it."""
        return self._held > 0

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Hold it; nothing here is awaited, so a cancellation can't get in between."""
        with self._lock:
            self._held += 1
        try:
            yield
        finally:
            with self._lock:
                self._held -= 1
                free = self._held == 0
            if free and self.on_release is not None:
                self.on_release()
