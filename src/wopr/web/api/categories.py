"""Categories: what waits and runs in each, what is paused, limited and revoked."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from wopr.domain.clock import naive_now
from wopr.domain.controls import Pause, Revocation
from wopr.domain.errors import QueryError
from wopr.domain.limits import Limit as CategoryLimit
from wopr.domain.limits import OnFull
from wopr.insights import queries
from wopr.queue.queue import TaskQueue, inside
from wopr.web.api.acts import Because
from wopr.web.api.endpoints import Asked, Endpoint, Model
from wopr.web.api.fields import Label, Reason, Seconds
from wopr.web.guard.roles import Role

ABOUT = "Categories"
_DOCUMENT = ConfigDict(use_attribute_docstrings=True)
Expression = Annotated[str, Field(min_length=1, max_length=500)]
MOST_ADDED = 100
"""So many workers are added by one call."""
Count = Annotated[int, Field(ge=1, le=2**31 - 2)]


@with_config(_DOCUMENT)
class Category(TypedDict):
    """A category, as it stands."""

    name: str
    waiting: int
    due: int
    """So many of those that wait could start now."""
    running: int
    oldest_age_seconds: float
    """So long the oldest due one has waited."""
    workers: int
    paused: Pause | None
    limits: list[CategoryLimit]


class Categories(TypedDict):
    """The categories that there are, by name."""

    categories: list[Category]


class Limits(TypedDict):
    """All limits, with what the code declares."""

    limits: list[CategoryLimit]


class Pauses(TypedDict):
    """What is paused."""

    pauses: list[Pause]


class Revocations(TypedDict):
    """What is cancelled as soon as it is to start."""

    revocations: list[Revocation]


class Resumed(TypedDict):
    """Whether it was paused."""

    resumed: bool


class Removed(TypedDict):
    """Whether there was one."""

    removed: bool


class Cancelled(TypedDict):
    """How many tasks were cancelled now."""

    cancelled: int


class More(Model):
    """How many."""

    count: Annotated[int, Field(ge=1, le=MOST_ADDED)] = 1
    """So many more workers."""


class Staffed(TypedDict):
    """How many workers of the category the process has that runs them."""

    workers: int


class LimitPlace(Model):
    """What a limit is of."""

    category: Label
    task: Label | None = None
    """A name: of its tasks in the category only."""
    key: Expression | None = None
    """An expression (JMESPath) over the arguments: of each of its values."""


class LimitChange(LimitPlace):
    """What to set; what is not given stays as it is, and `null` takes it away."""

    concurrency: Count | None = None
    """So many tasks run at most at the same time."""
    rate: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """So many start at most in any span of a period: `100/minute`, `5/2s`."""
    fair_by: Expression | None = None
    """An expression: tasks with different values of it take turns."""
    aging: Seconds | None = None
    """A waiting task gains one level of priority per so many seconds."""
    backlog: Count | None = None
    """So many tasks wait at most."""
    on_full: Literal["wait", "refuse", "drop_oldest"] = "wait"
    """What an enqueue does when they do."""


class Revoking(Model):
    """Which tasks: those of a name, and of them those that were called so."""

    task: Label
    where: Annotated[dict[str, Any], Field(max_length=100)] = Field(default={})
    """Expressions over the arguments, usually their names, and the values that they have."""
    standing: bool = False
    """Whether to go on with it."""
    reason: Reason = "revoked"


class Unrevoking(Model):
    """Which standing revocation."""

    task: Label
    where: Annotated[dict[str, Any], Field(max_length=100)] = Field(default={})


async def list_categories(asked: Asked) -> Categories:
    """Answer how each category stands."""
    queue = asked.queue
    pauses = {one.category: one for one in await queue.pauses() if one.category is not None}
    limits = await queue.limits()
    workers = Counter(one.category for one in await queue.worker_info())
    live = await _live(queue)
    stored = (await queue.get_task_stats())["by_category"]
    names = {*stored, *queue.categories, *pauses, *workers, *live}
    found: list[Category] = []
    for name in sorted(names | {one.category for one in limits}):
        waiting, due, running, age = live.get(name, (0, 0, 0, 0.0))
        found.append(
            {
                "name": name,
                "waiting": waiting,
                "due": due,
                "running": running,
                "oldest_age_seconds": age,
                "workers": workers[name],
                "paused": pauses.get(name),
                "limits": [one for one in limits if one.category == name],
            }
        )
    return {"categories": found}


async def _live(queue: TaskQueue) -> dict[str, tuple[int, int, int, float]]:
    core = inside(queue)
    if await core.reader() is None:
        return {}
    try:
        rows = (await queue.sql(queries.LIVE_BY_CATEGORY, naive_now(core.time))).rows
    except QueryError:  # of a storage that answers no SQL
        return {}
    return {name: (waiting, due, running, age) for name, waiting, due, running, age in rows}


async def pause(asked: Asked) -> Pauses:
    """Pause a category."""
    await asked.queue.pause(asked.path["name"], reason=asked.body.reason or "by hand")
    return await list_pauses(asked)


async def resume(asked: Asked) -> Resumed:
    """Resume a category."""
    return {"resumed": await asked.queue.resume(asked.path["name"])}


async def add_workers(asked: Asked) -> Staffed:
    """Add workers to the process that runs them."""
    backend = await inside(asked.queue).writer()
    count = asked.body.count
    return {"workers": await backend.add_workers(asked.path["name"], count)}


async def pause_name(asked: Asked) -> Pauses:
    """Pause the tasks of a name."""
    await asked.queue.pause(task=asked.path["name"], reason=asked.body.reason or "by hand")
    return await list_pauses(asked)


async def resume_name(asked: Asked) -> Resumed:
    """Resume the tasks of a name."""
    return {"resumed": await asked.queue.resume(task=asked.path["name"])}


async def list_pauses(asked: Asked) -> Pauses:
    """Answer what is paused."""
    return {"pauses": await asked.queue.pauses()}


async def list_limits(asked: Asked) -> Limits:
    """Answer all limits."""
    return {"limits": await asked.queue.limits()}


async def set_limit(asked: Asked) -> CategoryLimit:
    """Change what is given of a limit."""
    given = asked.body.model_dump(exclude_unset=True)
    if "on_full" in given:
        given["on_full"] = OnFull(given["on_full"])
    return await asked.queue.set_limit(given.pop("category"), **given)


async def remove_limit(asked: Asked) -> Removed:
    """Take a limit away."""
    place: LimitPlace = asked.query
    removed = await asked.queue.remove_limit(place.category, place.key, task=place.task)
    return {"removed": removed}


async def list_revocations(asked: Asked) -> Revocations:
    """Answer the standing revocations."""
    return {"revocations": await asked.queue.revocations()}


async def revoke(asked: Asked) -> Cancelled:
    """Cancel the live tasks of a name, and with `standing` those to come."""
    body: Revoking = asked.body
    cancelled = await asked.queue.revoke(
        task=body.task, where=body.where, standing=body.standing, reason=body.reason
    )
    return {"cancelled": cancelled}


async def unrevoke(asked: Asked) -> Removed:
    """End a standing revocation."""
    body: Unrevoking = asked.body
    return {"removed": await asked.queue.unrevoke(body.task, body.where)}


def _row(
    method: str, path: str, name: str, summary: str, handler: Any, answers: Any, **more: Any
) -> Endpoint:
    given = {"needs": Role.READ if method == "GET" else Role.OPERATE, **more}
    return Endpoint(
        method=method,
        path=path,
        name=name,
        about=ABOUT,
        summary=summary,
        handler=handler,
        answers=answers,
        **given,
    )


_WHY = {"takes": Because, "optional": True}
ENDPOINTS = (
    _row(
        "GET",
        "/categories",
        "list_categories",
        "How each category stands",
        list_categories,
        Categories,
    ),
    _row(
        "POST",
        "/categories/{name:name}/pause",
        "pause_category",
        "Start no more of its tasks",
        pause,
        Pauses,
        **_WHY,
    ),
    _row(
        "POST",
        "/categories/{name:name}/resume",
        "resume_category",
        "Start its tasks again",
        resume,
        Resumed,
    ),
    _row(
        "POST",
        "/categories/{name:name}/workers",
        "add_workers",
        "Add workers to the process that runs them",
        add_workers,
        Staffed,
        takes=More,
        optional=True,
    ),
    _row(
        "POST",
        "/functions/{name:name}/pause",
        "pause_name",
        "Start no more tasks of a name",
        pause_name,
        Pauses,
        **_WHY,
    ),
    _row(
        "POST",
        "/functions/{name:name}/resume",
        "resume_name",
        "Start tasks of a name again",
        resume_name,
        Resumed,
    ),
    _row("GET", "/pauses", "list_pauses", "What is paused", list_pauses, Pauses),
    _row("GET", "/limits", "list_limits", "All limits", list_limits, Limits),
    _row(
        "PATCH",
        "/limits",
        "set_limit",
        "Change a limit",
        set_limit,
        CategoryLimit,
        takes=LimitChange,
    ),
    _row(
        "DELETE",
        "/limits",
        "remove_limit",
        "Take a limit away",
        remove_limit,
        Removed,
        query=LimitPlace,
    ),
    _row(
        "GET",
        "/revocations",
        "list_revocations",
        "The standing revocations",
        list_revocations,
        Revocations,
    ),
    _row(
        "POST",
        "/revocations",
        "revoke",
        "Cancel tasks of a name",
        revoke,
        Cancelled,
        takes=Revoking,
    ),
    _row(
        "POST",
        "/revocations/end",
        "unrevoke",
        "End a standing revocation",
        unrevoke,
        Removed,
        takes=Unrevoking,
    ),
)
