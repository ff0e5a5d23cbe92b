"""What whoever keeps the lines of tasks asks of what runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from wopr.domain.logline import LogLine
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.executors.context import CurrentTask


class LineKeeping(Protocol):
    """What runs tasks in this process, and stores what they log."""

    def runs(self, task: CurrentTask) -> bool:
        """Whether it runs this attempt now; in any thread."""
        ...

    def observe(self, observer: Callable[[TaskRecord, Transition], None]) -> Callable[[], None]:
        """Have somebody told of each transition that is durable; return what ends that."""
        ...

    def save_logs(self, lines: Sequence[LogLine]) -> None:
        """Store lines soon; too many are dropped. On the event loop."""
        ...
