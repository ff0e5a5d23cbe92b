"""What time it is where the tasks of a queue are."""

from __future__ import annotations

from datetime import datetime

from wopr.core.core import Core
from wopr.domain.clock import naive_now


async def time_there(core: Core) -> datetime:
    """Return the time as records hold it; it is known once there is who answers."""
    await core.reader()
    return naive_now(core.time)
