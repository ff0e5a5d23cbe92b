"""In which order the tasks of a flow can be added, and why they can't."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence

Parents = Sequence[Collection[int]]
"""Per task the numbers of those that it depends on."""


def enqueue_order(parents: Parents) -> list[int]:
    """Return the numbers of the tasks, each after its parents, else as they are.

    Those that are in a cycle, or come after one, are missing.
    """
    if all(not mine or max(mine) < number for number, mine in enumerate(parents)):
        return list(range(len(parents)))  # as flows are mostly written
    children: list[list[int]] = [[] for _ in parents]
    left = [len(set(mine)) for mine in parents]
    for number, mine in enumerate(parents):
        for parent in set(mine):
            children[parent].append(number)
    ready = [number for number, count in enumerate(left) if not count]  # sorted, so a heap
    order: list[int] = []
    while ready:
        number = heapq.heappop(ready)
        order.append(number)
        for child in children[number]:
            left[child] -= 1
            if not left[child]:
                heapq.heappush(ready, child)
    return order


def find_cycle(parents: Parents) -> list[int]:
    """Return the tasks of one cycle, each before one that depends on it; empty if there is none."""
    stuck = set(range(len(parents))) - set(enqueue_order(parents))
    if not stuck:
        return []
    place: dict[int, int] = {}
    path: list[int] = []
    number = min(stuck)
    while number not in place:  # what is stuck has a parent that is stuck
        place[number] = len(path)
        path.append(number)
        number = min(parent for parent in parents[number] if parent in stuck)
    return path[place[number] :][::-1]
