"""Small pictures as SVG: positions are attributes, colours are classes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

WIDTH = 100.0


def points(values: Sequence[float | None], height: float, top: float | None = None) -> list[str]:
    """Return the points of a line through values, in a box 100 wide; gaps are left out.

    Args:
        values: from left to right.
        height: of the box.
        top: the value at its upper edge; without it, the largest.
    """
    known = [value for value in values if value is not None]
    most = max(known, default=0.0) if top is None else top
    if most <= 0:
        most = 1.0
    step = WIDTH / max(1, len(values) - 1)
    return [
        f"{at * step:.1f},{height - 1.5 - min(1.0, max(0.0, value / most)) * (height - 3):.1f}"
        for at, value in enumerate(values)
        if value is not None
    ]


def sparkline(
    values: Sequence[float | None],
    kind: str = "accent",
    height: int = 34,
    *,
    fill: bool = True,
    top: float | None = None,
    label: str = "",
) -> Markup:
    """Return a line through values as a picture; ``kind`` is its class, which has the colour."""
    line = points(values, height, top)
    if len(line) < 2:
        line = [f"0,{height - 1.5}", f"100,{height - 1.5}"]
    said = (
        Markup(' role="img" aria-label="{}"').format(label)
        if label
        else Markup(' aria-hidden="true"')
    )
    first, last = line[0].partition(",")[0], line[-1].partition(",")[0]
    area = Markup('<polygon class="area" points="{},{} {} {},{}"/>').format(
        first, height, " ".join(line), last, height
    )
    return Markup(
        '<svg class="spark {}" viewBox="0 0 100 {}" height="{}" preserveAspectRatio="none"{}>'
        '{}<polyline class="line" points="{}"/></svg>'
    ).format(kind, height, height, said, area if fill else "", " ".join(line))


def bar(fraction: float, kind: str = "accent", label: str = "") -> Markup:
    """Return how much of something is used, as a bar; from 0 to 1."""
    width = round(100 * min(1.0, max(0.0, fraction)), 1)
    return Markup(
        '<svg class="bar {}" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" '
        'aria-label="{}"><rect class="all" width="100" height="6" rx="3"/>'
        '<rect class="part" width="{}" height="6" rx="3"/></svg>'
    ).format(kind, label or f"{width:g} %", width)


def slots(total: int, busy: int, long: int = 0, most: int = 32) -> Markup:
    """Return the workers of a category as cells: long-running ones first, then busy, then free."""
    cells = min(total, most)
    scale = cells / total if total else 0
    shown_long, shown_busy = round(long * scale), round(busy * scale)
    marks = Markup("").join(
        Markup('<rect class="{}" x="{}" width="8" height="16" rx="2"/>').format(
            "long" if at < shown_long else "busy" if at < shown_busy else "free", at * 10
        )
        for at in range(cells)
    )
    label = f"{busy} of {total} busy" + (f", {long} for long" if long else "")
    return Markup(
        '<svg class="slots" viewBox="0 0 {} 16" width="{}" height="16" role="img" '
        'aria-label="{}"><title>{}</title>{}</svg>'
    ).format(max(1, cells * 10 - 2), max(1, cells * 10 - 2), label, label, marks)


DRAWINGS: dict[str, Callable[..., Any]] = {"sparkline": sparkline, "bar": bar, "slots": slots}
"""What templates may draw."""
