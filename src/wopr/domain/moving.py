"""What a home says of a queue that moves: where to, or where from."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from wopr.domain.address import is_address
from wopr.domain.errors import QueueMovedError, StorageError

MOVED = "moved"
"""In the table ``meta`` of a home whose queue is at another one now."""
MOVING = "moving"
"""In the table ``meta`` of a home that has a part of another one's queue."""


@dataclass(frozen=True, slots=True)
class Moving:
    """One queue on its way. Addresses have no password."""

    id: str
    """Of this move, for as long as it takes."""
    source: str
    target: str
    host: str
    """The machine that the file of the two is on."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what :meth:`text` made."""
        found = json.loads(text)
        return cls(found["id"], found["source"], found["target"], found["host"])

    @classmethod
    def said(cls, text: str) -> Self | None:
        """Read it from an error in which it stands; ``None``: it does not."""
        _, begin, rest = text.partition("{")
        try:
            found, _ = json.JSONDecoder().raw_decode(begin + rest)
            return cls(found["id"], found["source"], found["target"], found["host"])
        except (ValueError, KeyError):
            return None

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @property
    def command(self) -> str:
        """What is typed to move it, or to go on."""
        source, target = shlex.quote(self.source), shlex.quote(self.target)
        return f"wopr move --from {source} --to {target}"

    def gone(self) -> QueueMovedError:
        """Return the error of a home that it has left."""
        password = ", with the password if it needs one" if is_address(self.target) else ""
        return QueueMovedError(
            f"The queue of {self.source} has moved to {self.target} (the file of the two is on "
            f"{self.host}), and nothing is accepted here any more. Set "
            f"WOPR_TASKS_DATABASE={shlex.quote(self.target)}{password}.",
            moving=self.text(),
        )

    def half(self) -> StorageError:
        """Return the error of a home that it is not at yet."""
        return StorageError(
            f"{self.target} has a queue that is half moved: it is still at {self.source}, on "
            f"{self.host}, and works there. Run this again, it goes on: {self.command}"
        )


def refuse(meta: Mapping[str, str], *, proof: str = "") -> None:
    """Raise unless a home is one that may be worked on, by what its table ``meta`` says.

    Args:
        meta: the rows of that table.
        proof: the move that has ended at this home, as the home that was left says.

    Raises:
        QueueMovedError: the queue is elsewhere.
        StorageError: it is half moved.
    """
    if MOVED in meta:
        raise Moving.read(meta[MOVED]).gone()
    if MOVING in meta and (moving := Moving.read(meta[MOVING])).id != proof:
        raise moving.half()
