"""Tasks that are added together: what they may depend on."""

from __future__ import annotations

from collections.abc import Sequence

from wopr.domain.errors import InvalidCallError
from wopr.domain.newtask import NewTask

MOST_IN_A_FLOW = 100_000
"""The tasks of a flow are one commit, which has to fit in memory."""


def check_whole(tasks: Sequence[NewTask]) -> None:
    """Refuse tasks that can't be one flow.

    Raises:
        InvalidCallError: the message says which, and why.
    """
    if len(tasks) > MOST_IN_A_FLOW:
        raise InvalidCallError(
            f"A flow can have {MOST_IN_A_FLOW:,} tasks, this one has {len(tasks):,}. Split it: "
            "enqueue the first part, then let the second depend on its ids."
        )
    for at, new in enumerate(tasks):
        for one in new.depends_on:
            if not isinstance(one, str) and not 0 <= one < at:
                raise InvalidCallError(
                    f"Task number {at} of the flow, {new.name!r}, depends on {one}: numbers "
                    "must be those of earlier tasks, else they wait in a circle."
                )
        if new.unique_key is not None and (at or new.flow_id is not None):
            raise InvalidCallError(
                f"Task {new.name!r} of a flow has the unique key {new.unique_key!r}: tasks of "
                "a flow can't have one, because the flow could not go on without the task."
            )
