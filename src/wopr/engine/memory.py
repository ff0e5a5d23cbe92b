"""How many bytes of waiting tasks the lanes of one queue hold in memory together."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from typing import Any

from wopr.domain.proportion import in_proportion
from wopr.domain.task import TaskRecord
from wopr.ports.storage import PAGE_BYTES, weight

MEMORY_BYTES = 64 * 1024 * 1024
FLOOR = 16
"""Whoever holds less than this part of all memory is not asked to give anything back."""


FIRST_READ = 100
"""How many tasks are read at first where nobody knows how large they are."""


def fitting(read: Collection[TaskRecord], asked: int, most: int) -> int:
    """Return how many tasks to ask for next, by the size of those that were read: a page."""
    if not read:
        return asked
    count = PAGE_BYTES * len(read) // sum(map(weight, read))
    return max(1, min(count, 8 * asked, most))


class Memory:
    """What the lanes of one queue may still take.

    Each grows as long as it holds less than is free. So one lane alone takes half of the
    memory, two take a third each; there is always something left for one that comes new,
    and nobody has to know how many there are.
    """

    __slots__ = ("floor", "free")

    def __init__(self, most: int | None = None) -> None:
        most = MEMORY_BYTES if most is None else most
        self.free = most
        """Bytes; below zero when more came back than may be held."""
        self.floor = most // FLOOR

    @property
    def page(self) -> int:
        """How many bytes a page may bring now; one brings at least one task."""
        return max(1, min(PAGE_BYTES, self.free // 4))

    @property
    def share(self) -> int:
        """How many bytes a lane may hold that has become too large."""
        return max(self.free, self.floor)


def proportionate(memory_bytes: int) -> Memory:
    """Return the memory of a queue whose storage may have so many bytes."""
    return Memory(in_proportion(MEMORY_BYTES, memory_bytes))


class Waiting:
    """Waiting tasks in an order, and the bytes that they take."""

    __slots__ = ("bytes", "heap", "memory")

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.heap: list[tuple[Any, ...]] = []
        """Each is the key, the weight at that time, and the record."""
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.heap)

    def push(self, key: tuple[Any, ...], record: TaskRecord) -> None:
        """Take a task."""
        size = weight(record)
        self.bytes += size
        self.memory.free -= size
        heapq.heappush(self.heap, (*key, size, record))

    def pop(self) -> TaskRecord:
        """Give the first task away."""
        item = heapq.heappop(self.heap)
        size: int = item[-2]
        self.bytes -= size
        self.memory.free += size
        record: TaskRecord = item[-1]
        return record

    @property
    def first(self) -> TaskRecord:
        """The first task; there must be one."""
        record: TaskRecord = self.heap[0][-1]
        return record

    def records(self) -> Iterator[TaskRecord]:
        """Yield all tasks, in no order."""
        return (item[-1] for item in self.heap)

    def full(self, rows: int) -> bool:
        """Whether it holds so many tasks, or so many bytes that others need what is free."""
        return len(self.heap) >= rows or self.bytes >= self.memory.free

    def low(self, rows: int) -> bool:
        """Whether it holds so few tasks, and bytes, that more should be read."""
        return len(self.heap) <= rows and 4 * self.bytes <= max(self.memory.free, 0)

    def cut(self, rows: int) -> list[TaskRecord]:
        """Give away the last ones if there are more than three times as many as there should be.

        Twice as many stay.
        """
        share = self.memory.share
        if len(self.heap) <= 3 * rows and self.bytes <= 3 * share:
            return []
        self.heap.sort()
        kept = size = 0
        for item in self.heap[: 2 * rows]:
            if kept and size + item[-2] > 2 * share:
                break
            size += item[-2]
            kept += 1
        left = self.heap[kept:]
        del self.heap[kept:]
        self.memory.free += self.bytes - size
        self.bytes = size
        return [item[-1] for item in left]
