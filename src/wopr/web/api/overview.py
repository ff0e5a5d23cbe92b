"""The queue as a whole: whether work flows, counts, workers."""

from __future__ import annotations

from typing import Any, NotRequired, cast

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from wopr.ports.answers import WorkerInfo
from wopr.ports.asof import PastStatus
from wopr.ports.status import GroupExplanation, Status
from wopr.web.api.endpoints import Asked, Endpoint, Model
from wopr.web.api.fields import Label, When
from wopr.web.api.selecting import AtQuery
from wopr.web.guard.roles import Role

ABOUT = "Queue"
_DOCUMENT = ConfigDict(use_attribute_docstrings=True)


@with_config(_DOCUMENT)
class Stats(TypedDict):
    """Exact counts."""

    total: int
    by_status: dict[str, int]
    by_category: dict[str, int]
    running: int
    queued: int
    held: NotRequired[list[dict[str, Any]]]
    """Which tasks wait because they can't run here, with the reason."""


class Workers(TypedDict):
    """The workers of the process that owns the file."""

    workers: list[WorkerInfo]


class PastQuery(Model):
    """As of when."""

    at: When
    """A time with its zone, or so many seconds ago."""


class GroupQuery(Model):
    """What the tasks have in common: exactly one of these."""

    category: Label | None = None
    name: Label | None = None
    flow: Label | None = None
    schedule: Label | None = None


async def status(asked: Asked) -> Status:
    """Answer whether work flows, and what holds it back."""
    return await asked.queue.status()


async def stats(asked: Asked) -> dict[str, Any]:
    """Answer exact counts, of now or of a moment that is over."""
    at = asked.query.at
    return await (asked.queue if at is None else asked.queue.as_of(at)).get_task_stats()


async def workers(asked: Asked) -> Workers:
    """Answer what each worker does, or did."""
    at = asked.query.at
    return {"workers": await (asked.queue if at is None else asked.queue.as_of(at)).worker_info()}


async def past(asked: Asked) -> PastStatus:
    """Answer what waited, ran and was paused at a moment."""
    return await asked.queue.as_of(asked.query.at).status()


async def explain_group(asked: Asked) -> GroupExplanation:
    """Answer why tasks that have something in common stand where they stand."""
    given: Any = asked.query.model_dump(exclude_none=True)
    return cast("GroupExplanation", await asked.queue.explain(**given))


def _get(path: str, name: str, summary: str, handler: Any, answers: Any, **more: Any) -> Endpoint:
    return Endpoint(
        method="GET",
        path=path,
        name=name,
        about=ABOUT,
        summary=summary,
        needs=Role.READ,
        handler=handler,
        answers=answers,
        **more,
    )


ENDPOINTS = (
    _get("/status", "status", "Whether work flows, and what holds it back", status, Status),
    _get("/stats", "stats", "Count the tasks", stats, Stats, query=AtQuery),
    _get("/workers", "workers", "What each worker does", workers, Workers, query=AtQuery),
    _get("/past", "past", "How the queue stood at a moment", past, PastStatus, query=PastQuery),
    _get(
        "/explain",
        "explain_group",
        "Why the tasks of a category, a name, a flow or a schedule stand where they stand",
        explain_group,
        GroupExplanation,
        query=GroupQuery,
        problems=(404,),
    ),
)
