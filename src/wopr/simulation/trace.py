"""What happened in a simulation, line by line: the same lines for the same seed."""

from __future__ import annotations

import hashlib
from collections import deque

LAST = 40
"""So many of the newest lines are kept, for who looks at a failure."""


class Trace:
    """Hashes what happens; ids count as the order in which they came."""

    def __init__(self) -> None:
        self.last: deque[str] = deque(maxlen=LAST)
        self._hash = hashlib.sha256()
        self._names: dict[str, str] = {}

    def name(self, task_id: str) -> str:
        """Return what stands for an id."""
        return self._names.setdefault(task_id, f"#{len(self._names) + 1}")

    def add(self, seconds: float, text: str) -> None:
        """Note what happened at a moment of virtual time."""
        line = f"{seconds:.6f} {text}"
        self.last.append(line)
        self._hash.update(line.encode())

    @property
    def digest(self) -> str:
        """What all lines so far come to."""
        return self._hash.hexdigest()
