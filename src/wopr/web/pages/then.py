"""Tasks as they were at a moment: those of a selection, and one of them."""

from __future__ import annotations

from typing import Any

from wopr.core.past import Past
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskInfo
from wopr.web.pages import words


async def tasks_then(
    past: Past, given: words.Given, most: int, cursor: str | None
) -> tuple[tuple[TaskInfo, ...], str | None]:
    """Return a page of the tasks of a selection, newest first, and where the next one begins."""
    which: dict[str, Any] = words.selection(given)
    if "flow" in which:
        which["flow_id"] = which.pop("flow")
    found = await past.get_tasks(limit=most + 1, cursor=cursor, **which)
    shown = tuple(found[:most])
    return shown, shown[-1].id if len(found) > most else None


async def counts_then(past: Past, given: words.Given) -> dict[str, Any]:
    """Return how many tasks there were by status; only of all of them that is told quickly."""
    nothing: dict[str, Any] = {"statuses": (), "all": None, "total": 0}
    if given.keys() - {"status"}:
        return nothing
    stats = await past.get_task_stats()
    by_status = {one.value: stats["by_status"].get(one.value, 0) for one in TaskStatus}
    chosen = given.get("status", list(by_status))
    return {
        "statuses": list(by_status.items()),
        "all": stats["total"],
        "total": sum(by_status.get(one, 0) for one in chosen),
    }
