"""What happens, as the client hears it: server-sent events, read as they come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from wopr.client.failures import PAUSES
from wopr.client.requests import Asked, Given, Row
from wopr.domain.errors import OwnerGoneError, ServerRefusedError, StorageError, WoprError
from wopr.domain.status import TaskStatus

SILENT_SECONDS = 45.0
"""Without events a comment comes every 15 seconds: who sends none for so long is gone."""
LARGEST_EVENT = 1024 * 1024
EVENTS: Row[None] = Row(method="GET", path="/events", answer=type(None), reads=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A move of a task."""

    seq: int
    """Its number; ``events(after=…)`` goes on after it."""
    task_id: str
    name: str | None
    category: str | None
    from_status: TaskStatus | None
    to_status: TaskStatus
    attempt: int
    occurred_at: datetime
    worker: str | None
    reason: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Notice:
    """What is said about the events themselves."""

    kind: str
    """``begin``: it listens from now on; ``gap``: more were missed than are told; ``stalled`` and
    ``live``: the queue can't be read for now, and can again."""
    said: Mapping[str, Any]


Event = Transition | Notice
_TRANSITION = TypeAdapter(Transition)


class Hearing:
    """Reads events, and knows where to go on after the connection ended. No I/O.

    Args:
        which: parameters of the request.
        after: number of the last transition that is known.
    """

    def __init__(self, which: Mapping[str, Any], after: int | None) -> None:
        self._which = which
        self._after = after
        self._rest = b""
        self._begun = False
        self._tries = 0

    def asked(self) -> Asked[None]:
        """Return the request that goes on where it was."""
        self._rest = b""
        return Asked(EVENTS, Given(query={**self._which, "after": self._after}))

    def heard(self, part: bytes) -> Iterator[Event]:
        """Give the events that a part of the answer completes.

        Raises:
            StorageError: it is no event of wopr, or one without end.
        """
        *blocks, self._rest = (self._rest + part).split(b"\n\n")
        if len(self._rest) > LARGEST_EVENT:
            raise StorageError(
                f"An event has more than {LARGEST_EVENT // 1024} KiB, so nothing of it is kept. "
                "Does the address lead to `wopr web`, of the same version?"
            )
        for block in blocks:
            event = self._event(block)
            if event is not None:
                self._tries = 0
                yield event

    def pause(self, error: WoprError | None) -> float:
        """Return how long to wait before it is gone on with.

        Raises:
            WoprError: what the connection ended with; asking again does not help, or did not.
        """
        if error is not None and not _passes(error):
            raise error
        if self._tries >= len(PAUSES):
            raise error or OwnerGoneError(
                f"The events ended {self._tries + 1} times before one came. Is there a proxy that "
                "does not let text/event-stream through?"
            )
        self._tries += 1
        return PAUSES[self._tries - 1]

    def _event(self, block: bytes) -> Event | None:
        fields = dict(
            line.split(b": ", 1)
            for line in block.split(b"\n")
            if b": " in line and not line.startswith(b":")
        )
        kind = fields.get(b"event", b"").decode()
        if not kind or kind == "cut":  # a heartbeat, or the end: it is gone on with
            return None
        number = fields.get(b"id", b"")
        if number.isdigit():
            self._after = int(number)
        try:
            said = from_json(fields.get(b"data", b"{}"))
            if kind == "transition":
                return _TRANSITION.validate_python(said)
        except (ValidationError, ValueError) as error:
            raise StorageError(f"An event can't be read: {str(error)[:300]}") from error
        if kind == "begin" and self._begun:
            return None
        self._begun = self._begun or kind == "begin"
        return Notice(kind, said)


def _passes(error: WoprError) -> bool:
    """Whether it may be over soon."""
    if isinstance(error, ServerRefusedError):
        return error.status == 429
    return isinstance(error, StorageError)
