"""Acts: verbs over the tasks of a selection, seen before they are done, and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, NotRequired, Self

from pydantic import ConfigDict, Field, model_validator, with_config
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict

from wopr.core.tasks import OnProgress, SelectedTasks
from wopr.domain.act import Act, ActAnswer, ActProgress, Preview, Unchanged
from wopr.domain.checks import check_id, is_task_id
from wopr.domain.errors import ActError
from wopr.domain.status import TaskPriority
from wopr.domain.stored import MOST
from wopr.queue.queue import inside
from wopr.web.api.documents import TaskRow, row_of
from wopr.web.api.endpoints import Asked, Endpoint, Model
from wopr.web.api.fields import Label, Limit, Moment, Priority, Reason, Seconds, Time, Verb
from wopr.web.api.selecting import Selected, looked_at, tasks_of
from wopr.web.guard.roles import Role

ABOUT = "Acts"
MOST_UNDER_WAY = 1_000
"""So many acts that go on are known by their keys."""
_DOCUMENT = ConfigDict(use_attribute_docstrings=True)
_NEEDS = {"set-priority": "priority", "move": "category", "delay": "until"}


class Doing(Model):
    """A verb, and the tasks that it is about."""

    verb: Verb
    tasks: Selected
    reason: Reason | None = None
    """For those who look later."""
    priority: Priority | None = None
    """Of `set-priority`."""
    category: Label | None = None
    """Where to `move`."""
    until: Moment | Seconds | None = None
    """Of `delay`: a time with its zone, or seconds from now."""
    key: Label | None = None
    """Of your choice: how far the act is can be asked by it meanwhile."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for verb, name in _NEEDS.items():
            given = getattr(self, name) is not None
            if given and self.verb != verb:
                raise ValueError(f"{name} has no place in {self.verb}: it is of {verb}")
            if not given and self.verb == verb:
                raise ValueError(f"{verb} needs {name}")
        return self


class ActDocument(TypedDict):
    """What somebody did."""

    number: int
    verb: str
    who: str
    origin: str
    began_at: datetime
    ended_at: Time
    selection: dict[str, Any]
    detail: dict[str, Any]
    reason: str
    changed: int
    undoes: int | None


@with_config(_DOCUMENT)
class Done(TypedDict):
    """What came of an act."""

    act: ActDocument
    left: int
    """So many selected tasks stayed as they are."""
    unchanged: list[Unchanged]
    """The first of them, each with the reason."""


class Counted(TypedDict):
    """How many selected tasks have a name and a status, and how many of them would be changed."""

    name: str
    status: str
    count: int
    changes: int


@with_config(_DOCUMENT)
class WouldDo(TypedDict):
    """What an act would do: nothing was done."""

    selected: int
    changes: int
    counts: list[Counted]
    examples: list[TaskRow]
    """Ten of the tasks that it would change."""
    unchanged: list[Unchanged]


@with_config(_DOCUMENT)
class ActPage(TypedDict):
    """Acts, the newest first."""

    acts: list[ActDocument]
    next: NotRequired[int | None]
    """The `before` of the next page."""


class ActsQuery(Model):
    """Which page of the acts."""

    limit: Limit = 100
    before: Annotated[int, Field(ge=0, le=MOST)] | None = None
    """Only those with a lower number."""


class ProgressQuery(Model):
    """Which act."""

    key: Label
    """As it was given with the act."""


class Because(Model):
    """Why."""

    reason: Reason | None = None
    """For those who look later."""


async def preview(asked: Asked) -> WouldDo:
    """Answer what a verb would do."""
    body: Doing = asked.body
    found: Preview = await _verb(await looked_at(asked, body.tasks), body, dry_run=True)
    counts: list[Counted] = [
        {"name": one.name, "status": one.status.value, "count": one.count, "changes": one.changes}
        for one in found.counts
    ]
    return {
        "selected": found.selected,
        "changes": found.changes,
        "counts": counts,
        "examples": [row_of(info) for info in found.examples],
        "unchanged": list(found.unchanged),
    }


async def act(asked: Asked) -> Done:
    """Do something to all selected tasks; how far it is can be asked meanwhile."""
    body: Doing = asked.body
    with _told(asked, body.key) as told:
        return done(await _verb(tasks_of(asked, body.tasks), body, on_progress=told))


async def cancel(asked: Asked) -> Done:
    """Cancel one task."""
    return await _one(asked, "cancel")


async def retry(asked: Asked) -> Done:
    """Put one task back in its queue."""
    return await _one(asked, "retry")


async def run_again(asked: Asked) -> Done:
    """Enqueue one task once more."""
    return await _one(asked, "run-again")


async def _one(asked: Asked, verb: Verb) -> Done:
    core, task_id = inside(asked.queue), check_id(asked.path["id"])
    if not is_task_id(task_id):
        raise core.unknown(task_id)
    body = Doing(verb=verb, tasks=Selected(ids=[task_id]), reason=asked.body.reason)
    answer: ActAnswer = await _verb(asked.queue.tasks.where(ids=[task_id]), body)
    if answer.unchanged:
        if await core.info(task_id) is None:
            raise core.unknown(task_id)
        raise HTTPException(409, f"Task {task_id} stays as it is: {answer.unchanged[0].why}.")
    return done(answer)


async def _verb(tasks: SelectedTasks, body: Doing, **how: Any) -> Any:
    how["reason"] = body.reason
    if body.priority is not None:
        return await tasks.set_priority(TaskPriority(body.priority), **how)
    if body.category is not None:
        return await tasks.move(body.category, **how)
    if body.until is not None:
        return await tasks.delay(body.until, **how)
    plain: dict[str, Any] = {"cancel": tasks.cancel, "retry": tasks.retry}
    return await plain.get(body.verb, tasks.run_again)(**how)


async def progress(asked: Asked) -> ActProgress:
    """Answer how far an act is that this process carries out."""
    found = _under_way(asked).get(asked.query.key)
    if found is None:
        raise HTTPException(
            404,
            f"No act with the key {asked.query.key!r} goes on in this process. It has ended, or "
            "not begun; GET /acts lists what was done.",
        )
    return found


async def list_acts(asked: Asked) -> ActPage:
    """Answer a page of the acts."""
    query: ActsQuery = asked.query
    found = await asked.queue.acts(query.limit, before=query.before)
    more = found[-1].number if len(found) == query.limit else None
    return {"acts": [document_of(one) for one in found], "next": more}


async def undo(asked: Asked) -> Done:
    """Take back what can be of an act."""
    number = int(asked.path["number"])
    try:
        return done(await asked.queue.undo(number))
    except ActError as error:
        known = await asked.queue.acts(1, before=min(number + 1, MOST))
        if known and known[0].number == number:
            raise HTTPException(409, str(error)) from error
        raise


def done(answer: ActAnswer) -> Done:
    """Return what came of an act, as it is shown."""
    return {
        "act": document_of(answer.act),
        "left": answer.left,
        "unchanged": list(answer.unchanged),
    }


def document_of(one: Act) -> ActDocument:
    """Return an act as it is shown."""
    return {
        "number": one.number,
        "verb": one.verb,
        "who": one.who,
        "origin": one.origin,
        "began_at": one.began_at,
        "ended_at": one.ended_at,
        "selection": from_json(one.selection),
        "detail": from_json(one.detail),
        "reason": one.reason,
        "changed": one.changed,
        "undoes": one.undoes,
    }


def _under_way(asked: Asked) -> dict[str, ActProgress]:
    """Return how far the acts are that requests of this application wait for."""
    state = asked.request.app.state
    if not hasattr(state, "acts_under_way"):
        state.acts_under_way = {}
    found: dict[str, ActProgress] = state.acts_under_way
    return found


@contextmanager
def _told(asked: Asked, key: str | None) -> Iterator[OnProgress | None]:
    """Keep how far an act is for who asks for it by its key.

    Raises:
        HTTPException: the key is that of another one, or there are too many.
    """
    known = _under_way(asked)
    if key is None:
        yield None
        return
    if key in known or len(known) >= MOST_UNDER_WAY:
        raise HTTPException(409, f"An act with the key {key!r} goes on already: choose another.")
    known[key] = ActProgress(0, 0, 0)
    try:
        yield lambda progress: known.update({key: progress})
    finally:
        del known[key]


_ACT: dict[str, Any] = {"about": ABOUT, "needs": Role.OPERATE}
_ONE: dict[str, Any] = {
    **_ACT,
    "takes": Because,
    "optional": True,
    "answers": Done,
    "problems": (404, 409),
}
ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/acts/preview",
        name="preview_act",
        summary="See what a verb would do to the selected tasks",
        handler=preview,
        takes=Doing,
        answers=WouldDo,
        about=ABOUT,
        needs=Role.READ,
    ),
    Endpoint(
        method="POST",
        path="/acts",
        name="act",
        summary="Do something to all selected tasks",
        handler=act,
        takes=Doing,
        answers=Done,
        statuses=(201,),
        problems=(409,),
        **_ACT,
    ),
    Endpoint(
        method="GET",
        path="/acts/progress",
        name="act_progress",
        summary="How far an act is that goes on",
        handler=progress,
        query=ProgressQuery,
        answers=ActProgress,
        problems=(404,),
        about=ABOUT,
        needs=Role.READ,
    ),
    Endpoint(
        method="GET",
        path="/acts",
        name="list_acts",
        summary="Who did what",
        handler=list_acts,
        query=ActsQuery,
        answers=ActPage,
        about=ABOUT,
        needs=Role.READ,
    ),
    Endpoint(
        method="POST",
        path="/acts/{number:number}/undo",
        name="undo",
        summary="Take back what can be of an act",
        handler=undo,
        answers=Done,
        problems=(404, 409),
        **_ACT,
    ),
    Endpoint(
        method="POST",
        path="/tasks/{id}/cancel",
        name="cancel_task",
        summary="Cancel a task that has not ended",
        handler=cancel,
        **_ONE,
    ),
    Endpoint(
        method="POST",
        path="/tasks/{id}/retry",
        name="retry_task",
        summary="Put a failed task back in its queue",
        handler=retry,
        **_ONE,
    ),
    Endpoint(
        method="POST",
        path="/tasks/{id}/run-again",
        name="run_task_again",
        summary="Enqueue a task once more that succeeded or was cancelled",
        handler=run_again,
        **_ONE,
    ),
)
