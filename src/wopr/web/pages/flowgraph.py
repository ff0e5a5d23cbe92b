"""The picture of a flow: boxes in layers from left to right, and arrows between them. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wopr.flows.boxes import boxes_of, state_of
from wopr.flows.graph import enqueue_order
from wopr.flows.members import Member

MOST_BOXES = 120
MOST_ARROWS = 400
"""More of either, and tasks that are alike share a box."""
WIDTH, HEIGHT = 176, 46
GAP_X, GAP_Y = 56, 14
MARGIN = 10
SWEEPS = 4
"""So often the boxes of each layer are put in the order of those that they come from."""
LONGEST = 22
"""Letters of a name that a box has room for."""


@dataclass(frozen=True, slots=True)
class Box:
    """One task, or several that are alike, in its place."""

    x: int
    y: int
    name: str
    label: str
    """The name, as far as there is room."""
    below: str
    state: str
    task_id: str
    """Of the task, or of the first of them."""
    count: int


@dataclass(frozen=True, slots=True)
class Graph:
    """A picture, in units of its view box."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    arrows: tuple[str, ...]
    """Each as the path of an SVG."""
    left_out: int
    """So many boxes had no room."""

    @property
    def grouped(self) -> bool:
        """Whether some boxes stand for several tasks."""
        return any(box.count > 1 for box in self.boxes)


def graph_of(members: Sequence[Member]) -> Graph:
    """Return the picture; ``members`` come in the order of enqueueing."""
    boxes, edges = boxes_of(members, MOST_BOXES, MOST_ARROWS)
    firsts: dict[int, int] = {}
    counts: dict[int, int] = defaultdict(int)
    for at, number in enumerate(boxes):
        firsts.setdefault(number, at)
        counts[number] += 1
    numbers = sorted(firsts, key=firsts.__getitem__)
    drawn = {number: at for at, number in enumerate(numbers[:MOST_BOXES])}
    arrows = {
        (drawn[boxes[one]], drawn[boxes[other]])
        for one, other in edges
        if boxes[one] in drawn and boxes[other] in drawn and boxes[one] != boxes[other]
    }
    kept = sorted(arrows)[:MOST_ARROWS]
    places, width, height = _places(len(drawn), kept)
    return Graph(
        width,
        height,
        tuple(_box(members[firsts[n]], counts[n], places[at]) for n, at in drawn.items()),
        tuple(_arrow(places[one], places[other]) for one, other in kept),
        len(numbers) - len(drawn),
    )


def _box(one: Member, count: int, place: tuple[int, int]) -> Box:
    below = one.key or f"…{one.id[-8:]}" if count == 1 else f"× {count:,}"
    x, y = place
    return Box(x, y, one.name, cut(one.name), cut(below), state_of(one), one.id, count)


def cut(text: str, longest: int = LONGEST) -> str:
    """Return a text of so many letters at most."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _places(
    count: int, arrows: Sequence[tuple[int, int]]
) -> tuple[list[tuple[int, int]], int, int]:
    """Return where each box is, and how large the picture is."""
    layers = _ordered(_layers(count, arrows), arrows)
    tallest = max(map(len, layers), default=0)
    height = 2 * MARGIN + max(1, tallest) * (HEIGHT + GAP_Y) - GAP_Y
    places = [(0, 0)] * count
    for column, layer in enumerate(layers):
        top = (height - len(layer) * (HEIGHT + GAP_Y) + GAP_Y) // 2
        for row, number in enumerate(layer):
            places[number] = MARGIN + column * (WIDTH + GAP_X), top + row * (HEIGHT + GAP_Y)
    return places, 2 * MARGIN + max(1, len(layers)) * (WIDTH + GAP_X) - GAP_X, height


def _layers(count: int, arrows: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Put each box behind all that it comes from; what is in a circle comes after the others."""
    parents: list[list[int]] = [[] for _ in range(count)]
    for parent, child in arrows:
        parents[child].append(parent)
    order = enqueue_order(parents)
    inside = set(order)
    depth = dict.fromkeys(range(count), 0)
    for number in [*order, *(one for one in range(count) if one not in inside)]:
        depth[number] = max((depth[one] + 1 for one in parents[number]), default=0)
    columns: dict[int, list[int]] = defaultdict(list)
    for number in range(count):
        columns[depth[number]].append(number)
    return [columns[at] for at in sorted(columns)]


def _ordered(layers: list[list[int]], arrows: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Sort each layer by the middle of its neighbours before, then of those after, some times."""
    before: dict[int, list[int]] = defaultdict(list)
    after: dict[int, list[int]] = defaultdict(list)
    for parent, child in arrows:
        before[child].append(parent)
        after[parent].append(child)
    height = {number: at - len(layer) / 2 for layer in layers for at, number in enumerate(layer)}
    for sweep in range(SWEEPS):
        near = after if sweep % 2 else before
        for layer in reversed(layers) if sweep % 2 else layers:
            layer.sort(key=lambda one: _middle(one, near[one], height))
            height.update((one, at - len(layer) / 2) for at, one in enumerate(layer))
    return layers


def _middle(number: int, near: Sequence[int], height: dict[int, float]) -> float:
    return sum(height[one] for one in near) / len(near) if near else height[number]


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return a curve from the right edge of a box to the left one of another."""
    x1, y1 = start[0] + WIDTH, start[1] + HEIGHT // 2
    x2, y2 = end[0], end[1] + HEIGHT // 2
    bend = max(GAP_X // 2, abs(x2 - x1) // 2)
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
