"""Categories: what waits, what runs, limits with their use; pause, resume, limits."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from wopr.domain.errors import InvalidCallError
from wopr.domain.limits import Limit, OnFull
from wopr.domain.spoken import counted
from wopr.queue.queue import inside
from wopr.web.guard.roles import Role
from wopr.web.pages.asking import Ask, ask_of
from wopr.web.pages.forms import Form, form_of, needed, whole
from wopr.web.pages.rendering import page
from wopr.web.pages.saying import said
from wopr.web.pages.showing import Page
from wopr.web.pages.travel import past_of
from wopr.web.pages.workloads import workloads
from wopr.web.routing import queue_of, route

BACK = "/categories"
MOST_ADDED = 100
"""So many workers are added by one form."""


async def _values(ask: Ask) -> dict[str, Any]:
    pauses = await (past_of(ask) or ask.queue).pauses()
    return {
        "title": "Categories",
        "loads": await workloads(ask),
        "paused_names": [one for one in pauses if one.task is not None],
    }


PAGE = Page(here="Categories", path=BACK, template="categories.html", values=_values)


def _about(given: Any) -> dict[str, str]:
    """Return what is to be paused or resumed: a category or a name of tasks."""
    found = {name: given[name] for name in ("category", "task") if given.get(name)}
    if len(found) != 1:
        raise InvalidCallError("Say what: a category or the name of tasks. Nothing was changed.")
    return found


async def ask_pause(request: Request) -> Response:
    """Ask why something is to be paused."""
    return page(
        request, "pause.html", title="Pause", about=_about(request.query_params), action="pause"
    )


async def pause(request: Request) -> Response:
    """Start no more tasks of a category or a name."""
    form = await form_of(request)
    about = _about(form)
    why = {"reason": form["reason"]} if "reason" in form else {}
    await queue_of(request).pause(**about, **why)
    return said(request, f"{_named(about)} is paused. What runs goes on.", BACK)


async def resume(request: Request) -> Response:
    """Start tasks of a category or a name again."""
    about = _about(await form_of(request))
    was = await queue_of(request).resume(**about)
    text = "goes on" if was else "was not paused (any more)"
    return said(request, f"{_named(about)} {text}.", BACK)


async def ask_workers(request: Request) -> Response:
    """Ask how many workers are to be added to a category."""
    category = needed(request.query_params, "category", "of which category")
    return page(request, "staff.html", title="Add workers", category=category, most=MOST_ADDED)


async def add_workers(request: Request) -> Response:
    """Add workers to the process that runs them."""
    form = await form_of(request)
    category = needed(form, "category", "of which category")
    count = whole(form, "count", "How many") or 1
    if not 1 <= count <= MOST_ADDED:
        raise InvalidCallError(f"1 to {MOST_ADDED} workers are added at a time, not {count}.")
    backend = await inside(queue_of(request)).writer()
    total = await backend.add_workers(category, count)
    text = f"Category '{category}' has {counted(total, 'worker')} in the process that runs them."
    return said(request, text, BACK)


def _named(about: dict[str, str]) -> str:
    [(kind, name)] = about.items()
    return f"Category '{name}'" if kind == "category" else f"Tasks named '{name}'"


async def ask_limit(request: Request) -> Response:
    """Ask what a limit is to be; that of a category, a name in it or each value of a key."""
    ask = ask_of(request)
    place = {name: ask.query.get(name) or None for name in ("category", "task", "key")}
    if place["category"] is None:
        raise InvalidCallError("The URL has to say of which category: category=.")
    new = ask.query.get("new") == "yes"
    known = [
        one
        for one in await ask.queue.limits()
        if (one.category, one.task, one.key) == (place["category"], place["task"], place["key"])
    ]
    limit = known[0] if known and not new else Limit(category=place["category"])
    return page(
        request,
        "limit.html",
        title="Limit",
        place=place,
        new=new,
        limit=limit,
        known=bool(known) and not new,
        policies=list(OnFull),
    )


async def limit(request: Request) -> Response:
    """Set a limit: what the form leaves empty is not limited."""
    form = await form_of(request)
    category = needed(form, "category", "of which category")
    fields: dict[str, Any] = {
        "concurrency": whole(form, "concurrency", "How many run at once"),
        "rate": form.get("rate"),
    }
    if "task" not in form and "key" not in form:
        fields |= {
            "backlog": whole(form, "backlog", "How many wait"),
            "on_full": OnFull(form["on_full"]) if form.get("on_full") in _POLICIES else OnFull.WAIT,
        }
    found = await queue_of(request).set_limit(category, **_place(form), **fields)
    return said(request, f"'{found.name}' has {found.words()} from now on.", BACK)


_POLICIES = {policy.value for policy in OnFull}


async def remove_limit(request: Request) -> Response:
    """Take a limit away."""
    form = await form_of(request)
    category = needed(form, "category", "of which category")
    was = await queue_of(request).remove_limit(category, **_place(form))
    text = "has no limits any more" if was else "had no limits (any more)"
    return said(request, f"'{category}' {text}.", BACK)


def _place(form: Form) -> dict[str, Any]:
    return {name: form[name] for name in ("task", "key") if name in form}


def routes() -> list[BaseRoute]:
    """Return the routes of the page, and of what can be done on it."""
    may = Role.OPERATE
    return [
        *PAGE.routes(),
        route("/categories/pause", ask_pause, needs=may),
        route("/categories/pause", pause, needs=may, methods=["POST"]),
        route("/categories/resume", resume, needs=may, methods=["POST"]),
        route("/categories/workers", ask_workers, needs=may),
        route("/categories/workers", add_workers, needs=may, methods=["POST"]),
        route("/categories/limit", ask_limit, needs=may),
        route("/categories/limit", limit, needs=may, methods=["POST"]),
        route("/categories/limit/remove", remove_limit, needs=may, methods=["POST"]),
    ]
