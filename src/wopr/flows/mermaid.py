"""A flow as a picture: the text of a Mermaid flow chart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from wopr.flows.boxes import Boxes, boxes_of, state_of
from wopr.flows.members import Member

MOST_NODES = 200
MOST_EDGES = 400
"""More of either, and tasks that are alike are drawn as one; 500 edges are Mermaid's limit."""
LONGEST_LABEL = 60

STYLES = {
    "waiting": "fill:#f4f4f4,stroke:#999,color:#555,stroke-dasharray:4",
    "pending": "fill:#f4f4f4,stroke:#666,color:#222",
    "started": "fill:#dbeafe,stroke:#2563eb,color:#1e3a8a",
    "retry": "fill:#fef3c7,stroke:#d97706,color:#78350f",
    "success": "fill:#dcfce7,stroke:#16a34a,color:#14532d",
    "failed": "fill:#fee2e2,stroke:#dc2626,color:#7f1d1d",
    "cancelled": "fill:#e5e7eb,stroke:#6b7280,color:#374151",
}
"""How a status looks."""


def mermaid(members: Sequence[Member]) -> str:
    """Return the flow chart; ``members`` come in the order of enqueueing.

    A large flow is drawn smaller: tasks with the same name, status and kinds of parents
    share a box with their number. If that is still too large, those of the same name and
    status do.
    """
    boxes, edges = boxes_of(members, MOST_NODES, MOST_EDGES)
    return "\n".join(_lines(members, boxes, edges))


def _lines(members: Sequence[Member], boxes: Boxes, edges: Sequence[tuple[int, int]]) -> list[str]:
    sizes = Counter(boxes)
    lines = ["flowchart TD"]
    drawn: set[int] = set()
    for one, box in zip(members, boxes, strict=True):
        if box not in drawn:
            drawn.add(box)
            below = _text(one.key or f"…{one.id[-8:]}") if sizes[box] == 1 else f"× {sizes[box]:,}"
            lines.append(f'    t{box}["{_text(one.name)}<br/>{below}"]:::{state_of(one)}')
    arrows = dict.fromkeys((boxes[parent], boxes[child]) for parent, child in edges)
    lines += [f"    t{parent} --> t{child}" for parent, child in arrows if parent != child]
    used = dict.fromkeys(state_of(one) for one in members)
    return lines + [f"    classDef {state} {STYLES[state]}" for state in used]


def _text(text: str) -> str:
    """Return a text that means nothing to Mermaid: all but letters and digits as codes."""
    short = text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"
    return "".join(map(_letter, short))


def _letter(letter: str) -> str:
    if letter.isalnum() or letter in " _….":
        return letter
    return f"#{ord(letter)};" if letter.isprintable() else " "
