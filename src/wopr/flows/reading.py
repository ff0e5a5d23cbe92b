"""Read the tasks of a flow without their payloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wopr.calls.snapshots import left_out
from wopr.core import asking
from wopr.core.core import Core
from wopr.domain.checks import is_task_id
from wopr.domain.errors import QueryError, TaskNotFoundError
from wopr.domain.jsontext import shown
from wopr.flows.members import Member, member_of_record, member_of_row
from wopr.insights import queries
from wopr.ports.storage import TaskFilter

PAGE = 500


async def read_members(core: Core, flow_id: str, after: int = 0) -> list[Member]:
    """Return the tasks of a flow, each after those that it depends on.

    Args:
        core: of the queue.
        flow_id: of the flow.
        after: all its tasks have larger numbers, as far as is known: where they are few, fewer
            are looked at.

    Raises:
        TaskNotFoundError: the queue does not know the flow (any more).
    """
    found: list[Member] = []
    if is_task_id(flow_id):
        try:
            found = await _by_query(core, flow_id, after)
        except QueryError:  # this storage has no SQL, or the query took too long
            found = await _by_pages(core, flow_id)
    if not found:
        raise TaskNotFoundError(
            f"There is no flow {shown(flow_id)} in {core.database} (any more). "
            "`wopr flows list` shows those that there are."
        )
    return found


async def _by_query(core: Core, flow_id: str, last: int) -> list[Member]:
    found: list[Member] = []
    while True:
        rows = await asking.sql(core, queries.FLOW_MEMBERS, flow_id, last)
        found += filter(None, map(_member, rows))
        if not rows.truncated:
            return found
        last = rows[-1]["seq"]


def _member(row: Mapping[str, Any]) -> Member | None:
    try:
        return member_of_row(row)
    except (ValueError, TypeError, AttributeError) as error:
        left_out(row["id"], f"{error}.")
        return None


async def _by_pages(core: Core, flow_id: str) -> list[Member]:
    found: list[Member] = []
    cursor: str | None = None
    query = TaskFilter(flow_id=flow_id, limit=PAGE)
    while page := await core.find(query, cursor):
        found += map(member_of_record, page)
        cursor = page[-1].id
    return found[::-1]
