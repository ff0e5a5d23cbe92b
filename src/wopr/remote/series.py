"""The ids that the client of one connection makes for its new tasks."""

from __future__ import annotations

from wopr.domain.clock import new_stem

_LAST = 24
"""Where the last group of an id begins, which is the stem."""


class Series:
    """Ids of one stem, each greater than the one before: no task can have the next one.

    The owner makes the stem and tells it to that client alone. What is not of the series, or
    comes once more, may be the id of a task that is there.
    """

    def __init__(self) -> None:
        self.stem = new_stem()
        self._newest = ""

    def goes_on_with(self, task_id: str) -> bool:
        """Whether it is the next one; then only greater ones are, from now on."""
        if task_id[_LAST:] != self.stem or task_id <= self._newest:
            return False
        self._newest = task_id
        return True
