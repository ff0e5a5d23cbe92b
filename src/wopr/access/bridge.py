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

    def end(self) -> None:
        """End the loop and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
