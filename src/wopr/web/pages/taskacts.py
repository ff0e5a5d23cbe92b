"""Verbs over the tasks of a selection: asked first, with counts and examples, then done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from wopr.core.tasks import SelectedTasks
from wopr.domain.act import ActAnswer, Preview
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.status import TaskPriority
from wopr.web.guard.roles import Role
from wopr.web.pages import words
from wopr.web.pages.asking import Ask, ask_of
from wopr.web.pages.rendering import page
from wopr.web.pages.tasks import note, tasks_of
from wopr.web.routing import route

PATIENCE = 8.0
"""So many seconds an act is waited for; one that takes longer goes on, and Acts tells how far."""
MOST_GOING_ON = 20
MOST_FIELDS = 1_200
MOST_SAID = 20

Do = Callable[..., Awaitable[ActAnswer | Preview]]


@dataclass(frozen=True, slots=True)
class Doing:
    """A verb, as a page says it."""

    name: str
    words: str
    """On its button."""
    done: str
    """Of tasks, afterwards."""
    asks: str = ""
    """The name of the field for what it takes besides."""
    undoable: bool = False


DOINGS = {
    one.name: one
    for one in (
        Doing("retry", "Retry", "retried"),
        Doing("cancel", "Cancel", "cancelled", undoable=True),
        Doing("run-again", "Run again", "run again"),
        Doing("set-priority", "Change priority of", "given another priority", "to", undoable=True),
        Doing("move", "Move", "moved to another category", "category_to", undoable=True),
        Doing("delay", "Delay", "delayed", "by", undoable=True),
    )
}


def doing_of(form: QueryParams) -> Doing:
    """Return the verb that is asked for.

    Raises:
        InvalidCallError: there is none of this name.
    """
    found = DOINGS.get(form.get("verb", ""))
    if found is None:
        raise InvalidCallError(
            f"There is no verb {shown(form.get('verb', ''))}; there are {', '.join(DOINGS)}."
        )
    return found


def chosen(ask: Ask, form: QueryParams) -> tuple[words.Given, SelectedTasks]:
    """Return what is selected; all tasks there are have to be asked for by a word.

    Raises:
        InvalidCallError: nothing says which.
    """
    given = words.given_of(form)
    if not given:
        raise InvalidCallError(
            "Say which tasks: search first, or select some rows. Nothing was changed."
        )
    return given, tasks_of(ask, given)


async def look(request: Request) -> Response:
    """Show what a verb would do."""
    ask = ask_of(request)
    doing = doing_of(ask.query)
    given, selected = chosen(ask, ask.query)
    await note(ask, given)
    preview = cast("Preview", await _call(doing, selected, ask.query, dry=True)(dry_run=True))
    counts = sorted(preview.counts, key=lambda one: (-one.changes, -one.count, one.name))
    return page(
        request,
        "act.html",
        ask=ask,
        here="Tasks",
        title=f"{doing.words}…",
        doing=doing,
        preview=preview,
        counts=counts[:MOST_SAID],
        more=max(0, len(counts) - MOST_SAID),
        given=given,
        line=words.text_of(given),
        priorities=[one.name for one in TaskPriority],
    )


async def do(request: Request) -> Response:
    """Do it, and say what came of it."""
    ask = ask_of(request)
    async with request.form(max_fields=MOST_FIELDS, max_files=0) as fields:
        form = QueryParams([(name, str(value)) for name, value in fields.multi_items()])
    doing = doing_of(form)
    _, selected = chosen(ask, form)
    reason = form.get("reason", "").strip() or None
    call = _call(doing, selected, form, dry=False)
    going_on = _going_on(request)
    if len(going_on) >= MOST_GOING_ON:
        raise InvalidCallError(f"{MOST_GOING_ON} acts go on already; wait for one to end.")
    task = asyncio.ensure_future(call(reason=reason))
    going_on.add(task)
    task.add_done_callback(lambda done: _ended(going_on, done))
    await asyncio.wait([task], timeout=PATIENCE)
    answer = cast("ActAnswer", task.result()) if task.done() else None
    said = () if answer is None else answer.unchanged[:MOST_SAID]
    return page(
        request,
        "acted.html",
        ask=ask,
        here="Tasks",
        title="Done" if answer else "It goes on",
        doing=doing,
        answer=answer,
        said=said,
    )


def _call(doing: Doing, selected: SelectedTasks, form: QueryParams, *, dry: bool) -> Do:
    """Return what does a verb; a preview needs not know yet what it takes besides."""
    given = form.get(doing.asks, "").strip() if doing.asks else ""
    if doing.asks and not given and not dry:
        raise InvalidCallError(f"{doing.words}: say {doing.asks}. Nothing was changed.")
    simple = {"retry": selected.retry, "cancel": selected.cancel, "run-again": selected.run_again}
    if doing.name in simple:
        return cast("Do", simple[doing.name])
    if doing.name == "set-priority":
        names = [one.name for one in TaskPriority]
        if given and given not in names:
            raise InvalidCallError(f"A priority is one of {', '.join(names)}, not {shown(given)}.")
        priority = TaskPriority[given] if given else TaskPriority.NORMAL
        return lambda **more: selected.set_priority(priority, **more)
    if doing.name == "move":
        return lambda **more: selected.move(given or "default", **more)
    until: Any = words.moment(given, "by") if given else 0
    return lambda **more: selected.delay(until, **more)


def _going_on(request: Request) -> set[asyncio.Future[Any]]:
    state = request.app.state
    if not hasattr(state, "acts_going_on"):
        state.acts_going_on = set()
    return cast("set[asyncio.Future[Any]]", state.acts_going_on)


def _ended(going_on: set[asyncio.Future[Any]], done: asyncio.Future[Any]) -> None:
    going_on.discard(done)
    if not done.cancelled():
        done.exception()  # who waited has it; who did not finds the act without an end


def routes() -> list[BaseRoute]:
    """Return the routes of verbs."""
    return [
        route("/tasks/act", look, needs=Role.OPERATE),
        route("/tasks/act", do, needs=Role.OPERATE, methods=["POST"]),
    ]
