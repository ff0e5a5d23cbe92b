"""How many boxes a picture of a flow has: one per task, or one for those that are alike."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from wopr.domain.status import TaskStatus
from wopr.flows.graph import enqueue_order
from wopr.flows.members import Member

Boxes = list[int]
"""Per task the number of the box that shows it."""
Edges = list[tuple[int, int]]
"""Parent and child, by their numbers."""


def boxes_of(members: Sequence[Member], most_boxes: int, most_arrows: int) -> tuple[Boxes, Edges]:
    """Return which task is in which box, and the edges between tasks.

    Tasks that are alike share a box where the picture were too large else: those with the same
    name, status and kinds of parents; if that is still too much, those of the same name and
    status.

    Args:
        members: in the order of enqueueing.
        most_boxes: with more of them the picture is too large.
        most_arrows: with more of them, too.
    """
    number = {one.id: at for at, one in enumerate(members)}
    edges = [
        (number[parent], at)
        for at, one in enumerate(members)
        for parent in one.depends_on
        if parent in number
    ]
    boxes = list(range(len(members)))
    for alike in (_siblings, _kinds):
        arrows = {(boxes[one], boxes[other]) for one, other in edges}
        if len(set(boxes)) <= most_boxes and len(arrows) <= most_arrows:
            break
        boxes = alike(members, edges)
    return boxes, edges


def state_of(one: Member) -> str:
    """Return how a task stands: its status, or ``waiting`` for those that it depends on."""
    return "waiting" if one.waiting and one.status is TaskStatus.PENDING else one.status.value


def _siblings(members: Sequence[Member], edges: Edges) -> Boxes:
    """Put tasks together whose name, status and kinds of parents are the same."""
    parents: list[list[int]] = [[] for _ in members]
    for parent, child in edges:
        parents[child].append(parent)
    boxes = [0] * len(members)
    numbers: dict[Hashable, int] = {}
    for at in enqueue_order(parents):
        kind = (*_kind(members[at]), frozenset(boxes[parent] for parent in parents[at]))
        boxes[at] = numbers.setdefault(kind, len(numbers))
    return boxes


def _kinds(members: Sequence[Member], edges: Edges) -> Boxes:
    """Put tasks together whose name and status are the same."""
    del edges
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(_kind(one), len(numbers)) for one in members]


def _kind(one: Member) -> tuple[str, str]:
    return one.name, state_of(one)
