"""One category of the made-up week: tasks that wait, workers that run them, and when it stands."""

from __future__ import annotations

import heapq
from datetime import datetime

from wopr.domain.status import CLAIMABLE
from wopr.domain.task import TaskRecord

Place = tuple[int, datetime, int]


class Counter:
    """Due tasks in the order in which they start, and the workers of a category."""

    def __init__(self, category: str, count: int) -> None:
        self.category = category
        self.paused = False
        self.running: dict[str, TaskRecord] = {}
        """By worker."""
        self.free: list[str] = []
        self._count = count
        self._waiting: list[tuple[Place, TaskRecord]] = []
        self._entries = 0

    def open(self, host: str, pid: int) -> None:
        """Let workers of a new process begin."""
        self.free = [f"{host}-{pid}-{self.category}-{number + 1}" for number in range(self._count)]

    def close(self) -> list[TaskRecord]:
        """Let all workers go; return what they were running."""
        left, self.running, self.free = list(self.running.values()), {}, []
        return left

    def push(self, record: TaskRecord, due: datetime) -> None:
        """Let a task wait for a worker."""
        self._entries += 1
        heapq.heappush(self._waiting, ((-record.priority, due, self._entries), record))

    def next(self) -> tuple[str, TaskRecord] | None:
        """Return a free worker and the task that it takes, if there is both."""
        while not self.paused and self.free and self._waiting:
            record = heapq.heappop(self._waiting)[1]
            if record.status in CLAIMABLE:  # nobody cancelled it
                worker = self.free.pop(0)
                self.running[worker] = record
                return worker, record
        return None

    def release(self, worker: str | None) -> None:
        """Take a worker back whose task has ended."""
        if worker is not None and self.running.pop(worker, None) is not None:
            self.free.append(worker)
