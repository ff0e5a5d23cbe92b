"""The selection language in a request: the same words as in Python and on the command line."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from starlette.exceptions import HTTPException

from wopr.core.tasks import SelectedTasks
from wopr.domain.selection import LONGEST_CONDITION, MOST_VALUES
from wopr.queue.queue import inside
from wopr.web.api.endpoints import Asked, Model
from wopr.web.api.fields import At, Label, Status, Text, When
from wopr.web.guard.roles import Role

MOST_IDS = 1_000
Labels = Annotated[list[Label], Field(min_length=1, max_length=MOST_VALUES)]


class Selected(Model):
    """Which tasks: all that is given has to hold; of several values one is enough."""

    name: Labels | None = None
    """Of these names."""
    category: Labels | None = None
    """Of these categories."""
    status: Annotated[list[Status], Field(min_length=1, max_length=6)] | None = None
    """In these statuses."""
    since: When | None = None
    """Enqueued then or later: a time with its zone, or so many seconds ago."""
    until: When | None = None
    """Enqueued before that."""
    flow: Label | None = None
    """Of the flow with this id."""
    schedule: Label | None = None
    """Enqueued by this schedule."""
    tag: Label | None = None
    """With this tag."""
    error: Text | None = None
    """Whose newest failure says this, but for numbers: a fingerprint, or the text of an error."""
    where: Annotated[Text, Field(max_length=LONGEST_CONDITION)] | None = None
    """For which this condition in SQL holds; needs the role admin."""
    ids: Annotated[list[Label], Field(min_length=1, max_length=MOST_IDS)] | None = None
    """With these ids, or beginnings of ids."""


class AtQuery(Model):
    """As of when."""

    at: At = None


_NAMES = tuple(Selected.model_fields)


def tasks_of(asked: Asked, which: Selected) -> SelectedTasks:
    """Return the tasks that a request selects.

    Raises:
        HTTPException: it has a condition in SQL, and who asks may not ask in SQL.
        InvalidCallError: a value can't be what it has to be.
    """
    given = _conditions(asked, which)
    return asked.queue.tasks.where(given.pop("where"), **given)


async def looked_at(asked: Asked, which: Selected) -> SelectedTasks:
    """Return the tasks that a request looks at: a condition in SQL is noted as a question."""
    await conditions_of(asked, which)
    return tasks_of(asked, which)


async def conditions_of(asked: Asked, which: Selected) -> dict[str, Any]:
    """Return the conditions of a look, by name; ``None`` where one is not given.

    One in SQL is noted: what is looked at by it is no act that would tell.

    Raises:
        HTTPException: one is in SQL, and who asks may not ask in SQL.
    """
    found = _conditions(asked, which)
    if which.where is not None:
        await (await inside(asked.queue).existing()).acts.asked(f"where {which.where}")
    return found


def _conditions(asked: Asked, which: Selected) -> dict[str, Any]:
    if which.where is not None and not asked.caller.role.allows(Role.ADMIN):
        raise HTTPException(
            403,
            f"where= is a condition in SQL, which needs the role admin; {asked.caller.name} has "
            f"{asked.caller.role}. Select with the other parameters.",
        )
    return {name: getattr(which, name) for name in _NAMES}
