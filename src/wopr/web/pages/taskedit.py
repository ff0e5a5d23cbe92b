"""Edit and run: a new task from an old one, with other arguments."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from wopr.calls.options import Options
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsoncalls import read_call
from wopr.domain.masking import MASK, masked
from wopr.domain.status import TaskPriority
from wopr.domain.unmasking import unmasked
from wopr.queue.queue import inside
from wopr.web.guard.roles import Role
from wopr.web.pages.asking import ask_of
from wopr.web.pages.rendering import page
from wopr.web.routing import route


async def edit(request: Request) -> Response:
    """Show the form: the arguments of a task, its secrets hidden."""
    ask = ask_of(request)
    info = await ask.queue.require_task_info(request.path_params["id"])
    return page(
        request,
        "edit.html",
        ask=ask,
        here="Tasks",
        title="Edit and run as new…",
        info=info,
        args=json.dumps(masked(list(info.args)), indent=2, ensure_ascii=False),
        kwargs=json.dumps(masked(info.kwargs), indent=2, ensure_ascii=False),
        mask=MASK,
        priorities=[one.name for one in TaskPriority],
    )


async def run(request: Request) -> Response:
    """Enqueue the new task."""
    ask = ask_of(request)
    info = await ask.queue.require_task_info(request.path_params["id"])
    async with request.form(max_fields=20, max_files=0) as form:
        given = {name: str(value) for name, value in form.items()}
    args = unmasked(_json(given, "args", list), list(info.args))
    kwargs = unmasked(_json(given, "kwargs", dict), info.kwargs)
    priority = given.get("priority") or info.priority.name
    if priority not in TaskPriority.__members__:
        raise InvalidCallError(f"There is no priority {priority!r}. Nothing was enqueued.")
    options: Options = {
        "category": given.get("category") or info.category,
        "priority": TaskPriority[priority],
    }
    core = inside(ask.queue)
    codec = core.registry.get(info.name).codec
    values, named = read_call(codec, args, kwargs)
    new = await ask.queue.enqueue_id(info.name, values, named, options)
    return page(request, "enqueued.html", ask=ask, here="Tasks", title="Enqueued", new=new)


def _json(given: dict[str, str], name: str, kind: type) -> Any:
    try:
        value = json.loads(given.get(name) or ("[]" if kind is list else "{}"))
    except (ValueError, RecursionError) as error:
        raise InvalidCallError(
            f"{name} can't be read as JSON: {error}. Nothing was enqueued."
        ) from None
    if type(value) is not kind:
        form = "a list, like [1]" if kind is list else 'an object, like {"to": "ada"}'
        raise InvalidCallError(f"{name} has to be {form}. Nothing was enqueued.")
    return value


def routes() -> list[BaseRoute]:
    """Return the routes of the form."""
    return [
        route("/tasks/{id}/edit", edit, needs=Role.OPERATE),
        route("/tasks/{id}/edit", run, needs=Role.OPERATE, methods=["POST"]),
    ]
