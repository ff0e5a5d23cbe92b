"""Why each task of a flow stands where it stands, told from the flow alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from wopr.domain.spoken import counted
from wopr.domain.status import TaskStatus
from wopr.flows.members import Member

NAMED = 3


def standing_of(members: Sequence[Member]) -> dict[str, str]:
    """Return for each task, by its id, what it waits for or what became of it."""
    by_id = {one.id: one for one in members}
    return {one.id: _told(one, by_id) for one in members}


def _told(one: Member, by_id: dict[str, Member]) -> str:
    if one.status is TaskStatus.PENDING:
        return _waits(one, by_id) if one.waiting else "in the queue"
    if one.status is TaskStatus.CANCELLED and not one.attempt:
        unlucky = [
            by_id[parent]
            for parent in one.depends_on
            if parent in by_id and by_id[parent].status in (TaskStatus.FAILED, TaskStatus.CANCELLED)
        ]
        if unlucky:
            return f"cancelled, because {_names(unlucky)} {unlucky[0].status.value}"
    return {
        TaskStatus.STARTED: f"running, attempt {one.attempt}",
        TaskStatus.RETRY: f"waits for attempt {one.attempt + 1}",
        TaskStatus.SUCCESS: "succeeded",
        TaskStatus.FAILED: f"failed after {counted(one.attempt, 'attempt')}",
        TaskStatus.CANCELLED: "cancelled",
    }[one.status]


def _waits(one: Member, by_id: dict[str, Member]) -> str:
    inside = [by_id[parent] for parent in one.depends_on if parent in by_id]
    open_ = [parent for parent in inside if not parent.ended]
    outside = len(one.depends_on) - len(inside)
    said = []
    if open_:
        said.append(f"{len(open_):,} of {len(one.depends_on):,}: {_names(open_)}")
    if outside:
        said.append(f"{counted(outside, 'task')} outside of the flow")
    return f"waits for {' and '.join(said)}" if said else "is about to be released"


def _names(members: Sequence[Member]) -> str:
    named = ", ".join(one.key or one.name for one in members[:NAMED])
    more = len(members) - NAMED
    return f"{named} and {more:,} more" if more > 0 else named
