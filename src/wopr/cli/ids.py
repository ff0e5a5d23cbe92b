"""Ids on the command line: given by their beginnings, and shown by them."""

from __future__ import annotations

from collections.abc import Sequence

from wopr.cli.errors import NothingFoundError
from wopr.cli.output import WHOLE_ID, room
from wopr.domain.selection import bounds
from wopr.insights import queries
from wopr.queue.queue import TaskQueue

LENGTHS = (13, 18, 23)
"""Where the parts of an id end: of the same millisecond, count and process."""
AMBIGUOUS = 5
"""So many that begin alike are named."""


async def whole(queue: TaskQueue, given: str, *, flow: bool = False) -> str:
    """Return the id that begins so; what was given, if none does.

    Raises:
        NothingFoundError: several do.
    """
    ends = bounds(given.strip().lower())
    if ends is None or ends[0] == ends[1]:
        return given
    question = queries.FLOWS_BEGINNING if flow else queries.TASKS_BEGINNING
    found = [row["id"] for row in await queue.sql(question, *ends, AMBIGUOUS)]
    if len(found) > 1:
        what = "flows" if flow else "tasks"
        raise NothingFoundError(
            f"Several {what} begin with {given!r}: {', '.join(found)}. Give more of the id."
        )
    return found[0] if found else given


async def enough(queue: TaskQueue, ids: Sequence[str | None], *, flow: bool = False) -> int:
    """Return how many characters tell these ids from all others, if a table needs to know."""
    shown = sorted({one for one in ids if one is not None})
    if room() is None or not shown:
        return WHOLE_ID
    first, last = bounds(shown[0][: LENGTHS[0]]), bounds(shown[-1][: LENGTHS[0]])
    if first is None or last is None:
        return WHOLE_ID
    begin = [sorted({one[:length] for one in shown}) for length in LENGTHS]
    question = queries.FLOWS_ALIKE if flow else queries.TASKS_ALIKE
    [row] = await queue.sql(question, first[0], last[1], *begin)
    alike = (row["by_13"], row["by_18"], row["by_23"])
    for length, count, prefixes in zip(LENGTHS, alike, begin, strict=True):
        if count <= len(shown) == len(prefixes):
            return length
    return WHOLE_ID
