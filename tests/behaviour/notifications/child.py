"""A program that emits one event, and is killed before or while it is delivered."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from wopr import TaskQueue
from wopr.notifications import NotificationService, Webhook

SECRET = "shared"


async def live(database: Path, url: str, *, delivering: bool) -> None:
    """Emit, say the event's id, and wait for the end."""
    queue = TaskQueue(enabled=True, database=database)
    service = NotificationService(queue)
    service.route(Webhook(url, SECRET, name="ops", timeout=60))
    async with queue:
        if delivering:
            await service.start()
        event = await service.emit("a", "error", "disk full")
        print(event.id, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1]), sys.argv[2], delivering=sys.argv[3] == "delivering"))
