"""One event loop for all threads that have none."""

from __future__ import annotations

import asyncio
import threading


class LoopThread:
    """An event loop in a thread of its own, for all threads that use one queue."""

    def __init__(self) -> None:
        self.closing = False
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="wopr-loop", daemon=True)
        self.thread.start()

    def end(self, patience: float) -> None:
        """End the loop and its thread; leave one alone that is blocked for so many seconds."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(patience)
        if not self.thread.is_alive():
            self.loop.close()
