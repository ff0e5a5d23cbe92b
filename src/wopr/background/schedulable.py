"""What a background service is: its states, its priority, its calls."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Any, Protocol


class TaskState(str, Enum):
    """Where a service stands."""

    IDLE = "idle"
    RUNNING = "running"
    SUSPENDED = "suspended"
    STOPPED = "stopped"

    __str__ = str.__str__


class BackgroundPriority(IntEnum):
    """How important a service is. **Lower is first**: the opposite of a task's priority."""

    CRITICAL = 0
    HIGH = 10
    NORMAL = 50
    LOW = 100
    MAINTENANCE = 200


class SchedulableTask(Protocol):
    """A service that a :class:`~wopr.background.BackgroundScheduler` starts and stops.

    Each call does nothing in a state that it does not fit. When ``suspend`` or ``stop`` has
    returned, the service does nothing more until ``resume`` or ``start``.
    """

    @property
    def task_name(self) -> str:
        """Its name, unique within a scheduler."""
        ...

    @property
    def priority(self) -> int:
        """A :class:`BackgroundPriority`, or any number between them."""
        ...

    @property
    def state(self) -> TaskState:
        """Where it stands."""
        ...

    async def start(self) -> None:
        """Begin to work; from IDLE or STOPPED."""
        ...

    async def stop(self) -> None:
        """End the work; STOPPED from any state."""
        ...

    async def suspend(self) -> None:
        """Pause; from RUNNING."""
        ...

    async def resume(self) -> None:
        """Go on; from SUSPENDED."""
        ...

    def get_progress(self) -> dict[str, Any]:
        """Return at least ``{"running": bool}``."""
        ...
