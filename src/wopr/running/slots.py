"""The workers of a category in this process, for who looks at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from wopr.running.attempt import Attempt, Worker


class Slots(Protocol):
    """The workers of one category, and what they run."""

    @property
    def workers(self) -> Sequence[Worker]:
        """The slots."""
        ...

    @property
    def running(self) -> Mapping[str, Attempt]:
        """The attempts under way, by the ids of their tasks."""
        ...
