"""Calls of tasks by name: what a request says, checked by the function, and enqueued."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from wopr.calls.options import Options
from wopr.calls.tasks import new_task
from wopr.domain.checks import check_label
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsoncalls import read_call
from wopr.domain.newtask import OnConflict, OnParentFailure
from wopr.domain.retry import RetryPolicy
from wopr.domain.status import TaskPriority
from wopr.queue.queue import inside
from wopr.web.api.endpoints import Answer, Asked, Endpoint
from wopr.web.api.fields import Label, Moment, Priority, Retries, Seconds
from wopr.web.api.problems import refers
from wopr.web.guard.roles import Role

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
MOST_CALLS = 10_000
"""So many calls one request enqueues at most."""
ABOUT = "Enqueue"

Args = Annotated[list[Any], Field(description="Positional arguments.")]
Kwargs = Annotated[dict[str, Any], Field(description="Keyword arguments, by name.")]


@with_config(_STRICT)
class CallOptions(TypedDict, total=False):
    """What this call sets differently from its task."""

    category: Label
    """Where it waits; without it, where its function is registered."""
    priority: Priority
    max_retries: Retries
    """Retries after a failure."""
    retry: dict[str, Any]
    """A retry policy as it is stored."""
    timeout: Seconds
    """Seconds that one attempt may run."""
    soft_timeout: Seconds
    delay: Seconds
    """Seconds before it may start."""
    run_at: Moment
    """The time before which it does not start; not with `delay`."""
    expires: Seconds | Moment
    """Seconds from now, or a time, after which it is not started any more."""
    at_front: bool
    """Whether it starts before all others of its category and priority that wait then."""
    unique_key: Label
    """At most one live task has it."""
    on_conflict: Literal["skip", "raise", "replace"]
    """What happens when another one has it: `skip` answers that one's id, `raise` is 409."""
    tags: Annotated[list[Label], Field(max_length=100)]
    depends_on: (
        Annotated[list[Label], Field(max_length=10_000)]
        | Annotated[dict[str, Label], Field(max_length=10_000)]
    )
    """Ids of the tasks that have to end first, or names of arguments for their results."""
    on_parent_failure: Literal["cancel", "fail", "run", "only"]
    retain: Seconds
    """Seconds after its end for which it is kept."""


@with_config(_STRICT)
class Call(TypedDict):
    """A call of a task."""

    name: Label
    """Of a task that is registered in the process that serves this."""
    args: NotRequired[Args]
    kwargs: NotRequired[Kwargs]
    options: NotRequired[CallOptions]
    unchecked: NotRequired[bool]
    """Whether the name may be one that only workers elsewhere know. Then the arguments are stored
    as they are, and `options.category` says where it waits."""


@with_config(_STRICT)
class Arguments(TypedDict, total=False):
    """The arguments of one of many calls."""

    args: Args
    kwargs: Kwargs


@with_config(_STRICT)
class Calls(TypedDict):
    """Many calls of one task."""

    name: Label
    calls: Annotated[list[Arguments], Field(min_length=1, max_length=MOST_CALLS)]
    options: NotRequired[CallOptions]
    """Of each of them."""


class Enqueued(TypedDict):
    """A task that is on disk."""

    id: str


class EnqueuedMany(TypedDict):
    """Tasks that are on disk, in the order of the calls."""

    ids: list[str]


async def enqueue(asked: Asked) -> Answer:
    """Enqueue one task; it is on disk when this answers."""
    body = asked.body
    options = options_of(body.get("options"))
    if body.get("unchecked") and body["name"] not in asked.queue.task_functions:
        return await _enqueue_unchecked(asked, body, options)
    args, kwargs = values_of(asked, body["name"], body)
    with refers():
        task_id = await asked.queue.enqueue_id(body["name"], args, kwargs, options)
    return Answer(b'{"id":"%s"}' % task_id.encode(), 201)


async def _enqueue_unchecked(asked: Asked, body: Call, options: Options) -> Answer:
    if "category" not in options:
        raise InvalidCallError(
            f"No function is registered as {body['name']!r} here, so options.category has to say "
            "which workers run it. Nothing was done."
        )
    core = inside(asked.queue)
    definition = core.registry.elsewhere(check_label(body["name"], "name"))
    args, kwargs = tuple(body.get("args", ())), body.get("kwargs", {})
    new = new_task(definition, args, kwargs, core.time, options)
    with refers():
        task_id = await core.change(lambda backend: backend.add(new))
    return Answer(b'{"id":"%s"}' % task_id.encode(), 201)


async def enqueue_many(asked: Asked) -> EnqueuedMany:
    """Enqueue many tasks of one name: all of them, or none if a call is wrong."""
    name, body = asked.body["name"], asked.body
    options = options_of(body.get("options"))
    core = inside(asked.queue)
    tasks = [core.new_task(name, *values_of(asked, name, call), options) for call in body["calls"]]
    with refers():
        ids = await core.change(lambda backend: backend.add_many(tasks))
    return {"ids": ids}


def values_of(
    asked: Asked, name: str, call: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return the arguments of a call as what its function's annotations say.

    Raises:
        InvalidCallError: there is no such function, or they don't fit it.
    """
    args, kwargs = call.get("args", ()), call.get("kwargs", {})
    return read_call(inside(asked.queue).registry.get(name).codec, args, kwargs)


def options_of(given: Mapping[str, Any] | None) -> Options:
    """Return the options of a call as the queue takes them."""
    if not given:
        return {}
    options: dict[str, Any] = dict(given)
    for name, kind in (
        ("priority", TaskPriority),
        ("on_conflict", OnConflict),
        ("on_parent_failure", OnParentFailure),
    ):
        if name in options:
            options[name] = kind(options[name])
    if "retry" in options:
        options["retry"] = RetryPolicy.from_json(json.dumps(options["retry"]))
    return options  # type: ignore[return-value]


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/tasks",
        name="enqueue",
        about=ABOUT,
        summary="Enqueue a task by name",
        needs=Role.OPERATE,
        handler=enqueue,
        takes=Call,
        answers=Enqueued,
        statuses=(201,),
        problems=(409, 413, 429),
    ),
    Endpoint(
        method="POST",
        path="/tasks/batch",
        name="enqueue_many",
        about=ABOUT,
        summary="Enqueue many tasks of one name",
        needs=Role.OPERATE,
        handler=enqueue_many,
        takes=Calls,
        answers=EnqueuedMany,
        statuses=(201,),
        problems=(409, 413, 429),
    ),
)
