"""Workers: each slot as a cell, free, busy or busy for long; and what they run."""

from __future__ import annotations

from typing import Any

from starlette.routing import BaseRoute

from wopr.web.pages.asking import Ask
from wopr.web.pages.showing import Page
from wopr.web.pages.slots import Slot, SlotState
from wopr.web.pages.travel import past_of
from wopr.web.pages.workloads import slots_now

MOST_CELLS = 1_000
"""So many cells are drawn of one category; all are counted."""
MOST_ROWS = 200
PER_LINE = 40


async def _values(ask: Ask) -> dict[str, Any]:
    slots = await slots_now(ask)
    pauses = await (past_of(ask) or ask.queue).pauses()
    every = [slot for one in slots.values() for slot in one]
    running = sorted(
        (slot for slot in every if slot.state is not SlotState.FREE),
        key=lambda slot: -(slot.seconds or 0.0),
    )
    return {
        "title": "Workers",
        "categories": {
            name: {"cells": one[:MOST_CELLS], "total": len(one), "counts": _counts(one)}
            for name, one in slots.items()
        },
        "counts": _counts(every),
        "total": len(every),
        "running": running[:MOST_ROWS],
        "unlisted": max(0, len(running) - MOST_ROWS),
        "paused": {one.category for one in pauses if one.category},
        "per_line": PER_LINE,
        "seen": max((slot.worker.heartbeat_at for slot in every), default=None),
    }


def _counts(slots: list[Slot] | tuple[Slot, ...]) -> dict[str, int]:
    return {state.value: sum(slot.state is state for slot in slots) for state in SlotState}


PAGE = Page(here="Workers", path="/workers", template="workers.html", values=_values)


def routes() -> list[BaseRoute]:
    """Return the routes of the page."""
    return PAGE.routes()
