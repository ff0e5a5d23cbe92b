"""What goes along from the code that enqueues a task to the attempt that runs it."""

from __future__ import annotations

from typing import Any, Protocol

from wopr.domain.task import TaskRecord


class Carrier(Protocol):
    """Takes something from the caller's context along to the run of the task."""

    key: str
    """Where it is kept in the task's options."""

    def pack(self, name: str, args: str, kwargs: str, results: object = None) -> Any | None:
        """Return what to store with a call, in the caller's context; ``None`` for nothing.

        ``args`` and ``kwargs`` are JSON texts, the value is stored as JSON. ``results``
        says which of the arguments are results of which parents, as in the options.

        Raises:
            WoprError: the call is refused; nothing is written.
        """
        ...

    async def unpack(self, record: TaskRecord, packed: Any | None) -> None:
        """Set up the attempt's context, before the function is called.

        Raises:
            TaskRefusedError: the function must not be called.
        """
        ...
