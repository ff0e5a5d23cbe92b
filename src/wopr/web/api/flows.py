"""Flows: tasks that belong together, enqueued in one commit and looked at as one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from wopr.calls.signature import Signature
from wopr.domain.errors import InvalidCallError
from wopr.domain.resultof import ResultOf
from wopr.domain.snapshot import aware
from wopr.flows.flow import Flow
from wopr.flows.members import FlowProgress, Member, progress_of
from wopr.flows.reading import read_members
from wopr.insights import queries
from wopr.queue.queue import inside
from wopr.web.api.calls import Args, CallOptions, Kwargs, options_of, values_of
from wopr.web.api.endpoints import Answer, Asked, Endpoint, Model
from wopr.web.api.fields import Label, Limit, Status, Time
from wopr.web.api.problems import refers
from wopr.web.guard.roles import Role

ABOUT = "Flows"
MOST_TASKS = 10_000
"""So many tasks one request enqueues, or is answered with, at most."""
_DOCUMENT = ConfigDict(use_attribute_docstrings=True)
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
Keys = Annotated[list[Label], Field(max_length=1_000)]


@with_config(_STRICT)
class Step(TypedDict):
    """A task of a flow, and what comes before it."""

    key: Label
    """What the flow calls it."""
    name: Label
    args: NotRequired[Args]
    kwargs: NotRequired[Kwargs]
    results: NotRequired[Annotated[dict[Label, Label | Keys], Field(max_length=100)]]
    """Arguments that are results of other steps: names of parameters, and keys."""
    after: NotRequired[Keys]
    """Keys of the steps that it comes after besides."""
    options: NotRequired[CallOptions]


@with_config(_STRICT)
class NewFlow(TypedDict):
    """Tasks that belong together."""

    tasks: Annotated[list[Step], Field(min_length=1, max_length=MOST_TASKS)]


@with_config(_DOCUMENT)
class EnqueuedFlow(TypedDict):
    """A flow that is on disk."""

    id: str
    ids: dict[str, str]
    """The ids of its tasks, by key."""


@with_config(_DOCUMENT)
class FlowRow(TypedDict):
    """A flow of a list."""

    id: str
    total: int
    ended: int
    succeeded: int
    failed: int
    cancelled: int
    running: int
    waiting: int
    created_at: datetime
    completed_at: Time


class FlowList(TypedDict):
    """Flows, newest first."""

    flows: list[FlowRow]


@with_config(_DOCUMENT)
class FlowTask(TypedDict):
    """A task of a flow."""

    id: str
    key: str | None
    name: str
    status: Status
    attempt: int
    waiting: bool
    """Whether it waits for others."""
    depends_on: list[str]
    completed_at: Time


@with_config(_DOCUMENT)
class FlowDocument(TypedDict):
    """A flow and its tasks, each after those that it depends on."""

    id: str
    progress: FlowProgress
    percent: float
    tasks: list[FlowTask]
    """The first 10,000."""


class CancelledFlow(TypedDict):
    """How many tasks were cancelled."""

    cancelled: int


class FlowsQuery(Model):
    """How many."""

    limit: Limit = 50


async def enqueue_flow(asked: Asked) -> Answer:
    """Enqueue a flow: all of its tasks, or none."""
    flow = Flow()
    for step in asked.body["tasks"]:
        flow.add(_signature(asked, step), key=step["key"], after=step.get("after", []))
    with refers():
        handle = await asked.queue.enqueue_flow(flow)
    return Answer({"id": handle.id, "ids": {key: handle.task(key).id for key in flow.nodes}}, 201)


def _signature(asked: Asked, step: Step) -> Signature[Any]:
    results: dict[str, Any] = {
        name: ResultOf(keys) if isinstance(keys, str) else [ResultOf(key) for key in keys]
        for name, keys in step.get("results", {}).items()
    }
    kwargs = step.get("kwargs", {})
    if twice := kwargs.keys() & results.keys():
        raise InvalidCallError(
            f"Step {step['key']!r} has {', '.join(sorted(twice))} both in kwargs and in results."
        )
    call = {"args": step.get("args", []), "kwargs": {**kwargs, **results}}
    args, named = values_of(asked, step["name"], call)
    return Signature(step["name"], tuple(args), named, {**options_of(step.get("options"))})


async def list_flows(asked: Asked) -> FlowList:
    """Answer the newest flows."""
    core = inside(asked.queue)
    if await core.reader() is None:
        return {"flows": []}
    rows = await asked.queue.sql(queries.FLOWS, asked.query.limit)
    return {"flows": [_row(row) for row in rows]}


def _row(row: dict[str, Any]) -> FlowRow:
    return {
        "id": str(row["flow_id"]),
        "total": row["tasks"],
        "ended": row["ended"],
        "succeeded": row["succeeded"],
        "failed": row["failed"],
        "cancelled": row["cancelled"],
        "running": row["running"],
        "waiting": row["waiting"],
        "created_at": aware(row["created_at"]) or row["created_at"],
        "completed_at": aware(row["completed_at"]),
    }


async def get_flow(asked: Asked) -> FlowDocument:
    """Answer a flow and its tasks."""
    flow_id = asked.path["id"]
    members = await read_members(inside(asked.queue), flow_id)
    progress = progress_of(members)
    return {
        "id": flow_id,
        "progress": progress,
        "percent": progress.percent,
        "tasks": [_task(one) for one in members[:MOST_TASKS]],
    }


def _task(one: Member) -> FlowTask:
    return {
        "id": one.id,
        "key": one.key,
        "name": one.name,
        "status": one.status.value,
        "attempt": one.attempt,
        "waiting": one.waiting,
        "depends_on": list(one.depends_on),
        "completed_at": aware(one.completed_at),
    }


async def cancel_flow(asked: Asked) -> CancelledFlow:
    """Cancel all tasks of a flow that have not ended: one act, and what it released meanwhile."""
    flow = await asked.queue.flow(asked.path["id"])
    before = (await flow.progress()).cancelled
    await asked.queue.tasks.where(flow=flow.id).cancel()
    await flow.cancel()
    return {"cancelled": (await flow.progress()).cancelled - before}


def _endpoint(method: str, path: str, name: str, summary: str, handler: Any, **more: Any) -> Any:
    given = {"needs": Role.READ if method == "GET" else Role.OPERATE, **more}
    return Endpoint(
        method=method,
        path=path,
        name=name,
        about=ABOUT,
        summary=summary,
        handler=handler,
        **given,
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    _endpoint(
        "POST",
        "/flows",
        "enqueue_flow",
        "Enqueue tasks that belong together",
        enqueue_flow,
        takes=NewFlow,
        answers=EnqueuedFlow,
        statuses=(201,),
        problems=(409,),
    ),
    _endpoint(
        "GET",
        "/flows",
        "list_flows",
        "The newest flows",
        list_flows,
        query=FlowsQuery,
        answers=FlowList,
    ),
    _endpoint(
        "GET",
        "/flows/{id}",
        "get_flow",
        "Get a flow and its tasks",
        get_flow,
        answers=FlowDocument,
        problems=(404,),
    ),
    _endpoint(
        "POST",
        "/flows/{id}/cancel",
        "cancel_flow",
        "Cancel what has not ended of a flow",
        cancel_flow,
        answers=CancelledFlow,
        problems=(404,),
    ),
)
