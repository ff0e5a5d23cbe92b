"""What can be done with schedules: add, edit, preview, pause, run now, remove."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.misfire import Misfire, Overlap
from wopr.domain.schedule import planned
from wopr.domain.scheduleoptions import parse_schedule_options
from wopr.domain.status import TaskPriority
from wopr.domain.triggers import Trigger
from wopr.domain.unmasking import unmasked
from wopr.web.guard.roles import Role
from wopr.web.pages.asking import ask_of
from wopr.web.pages.buckets import now_of
from wopr.web.pages.forms import Form, form_of, needed, plain_json, real
from wopr.web.pages.rendering import page
from wopr.web.pages.saying import said
from wopr.web.routing import queue_of, route

BACK = "/schedules"
PREVIEWED = 10
WHEN = {
    "cron": ("by a cron expression", "*/5 * * * *"),
    "at": ("daily at", "14:30"),
    "every": ("every so many seconds", "300"),
}
"""How a plan can be said here: its words, and an example. The code knows more."""


def _when(form: Form) -> dict[str, Any]:
    """Return the options that say when; none if they were left empty.

    Raises:
        InvalidCallError: one is wrong.
    """
    if "when" not in form:
        return {}
    kind = form.get("kind", "cron")
    if kind not in WHEN:
        raise InvalidCallError(f"A plan is one of {', '.join(WHEN)}, not {shown(kind)}.")
    value: Any = real(form, "when", "The seconds") if kind == "every" else form["when"]
    zone = {"tz": form["tz"]} if "tz" in form and kind != "every" else {}
    return {kind: value, **zone}


def _options(form: Form) -> dict[str, Any]:
    """Return all that a form says; what it leaves empty is not changed."""
    options: dict[str, Any] = _when(form)
    if "category" in form:
        options["category"] = form["category"]
    if "priority" in form:
        options["priority"] = _member(TaskPriority, form["priority"], "priority", by="name")
    if "overlap" in form:
        options["overlap"] = _member(Overlap, form["overlap"], "overlap")
    if "misfire" in form:
        options["misfire"] = _member(Misfire, form["misfire"], "misfire")
    kwargs = plain_json(form, "kwargs", "The arguments by name", dict)
    if kwargs is not None:
        options["kwargs"] = kwargs
    return options


def _member(kind: Any, text: str, what: str, *, by: str = "value") -> Any:
    for member in kind:
        if getattr(member, by) == text:
            return member
    known = ", ".join(str(getattr(member, by)) for member in kind)
    raise InvalidCallError(f"{what} must be one of {known}, not {shown(text)}.")


async def ask_schedule(request: Request) -> Response:
    """Ask what a schedule is to be: a new one, or another plan for one that is there."""
    ask = ask_of(request)
    name = ask.query.get("name") or None
    info = None if name is None else await ask.queue.schedules.get(name)
    return page(
        request,
        "planning.html",
        title="Schedule" if info is None else f"Edit {info.name}",
        info=info,
        kinds=WHEN,
        tasks=sorted(ask.queue.task_functions),
        priorities=[one.name for one in TaskPriority],
        overlaps=[one.value for one in Overlap],
        misfires=[one.value for one in Misfire],
    )


async def preview(request: Request) -> Response:
    """Show when a plan would fire, without storing anything."""
    form = await form_of(request)
    when = _when(form)
    if not when:
        raise InvalidCallError("Say when it is to fire; the field was left empty.")
    now = now_of(queue_of(request))
    trigger: Trigger = parse_schedule_options(**when)
    times = planned(trigger, PREVIEWED, now)
    return page(
        request, "planned.html", title="Preview", text=trigger.describe(), times=times, now=now
    )


async def save(request: Request) -> Response:
    """Add a schedule, or change the one that the form is about."""
    form = await form_of(request)
    name = needed(form, "name", "what the schedule is called")
    schedules = queue_of(request).schedules
    options = _options(form)
    if form.get("known") == "yes":
        if not options:
            raise InvalidCallError(f"Nothing about schedule {shown(name)} was to be changed.")
        if "kwargs" in options:  # else those by place, for which there is no field, are none
            known = await schedules.get(name)
            options["args"] = known.args
            options["kwargs"] = unmasked(options["kwargs"], known.kwargs)
        info = await schedules.update(name, **options)
        text = f"Schedule '{name}' is changed."
    else:
        info = await schedules.add(name, needed(form, "task", "which task"), **options)
        text = f"Schedule '{name}' is added."
    times = await schedules.preview(name, PREVIEWED)
    return said(request, f"{text} {info.text}", BACK, times=times)


async def pause(request: Request) -> Response:
    """Fire a schedule no more until it is resumed."""
    form = await form_of(request)
    name = needed(form, "name", "which schedule")
    why = {"reason": form["reason"]} if "reason" in form else {}
    info = await queue_of(request).schedules.pause(name, **why)
    return said(request, f"Schedule '{name}': {info.text}", BACK)


async def ask_pause(request: Request) -> Response:
    """Ask why a schedule is to be paused."""
    name = ask_of(request).query.get("name") or ""
    return page(request, "pause.html", title="Pause", about={"name": name}, action="schedule")


async def resume(request: Request) -> Response:
    """Go on with the next time after now."""
    name = needed(await form_of(request), "name", "which schedule")
    info = await queue_of(request).schedules.resume(name)
    return said(request, f"Schedule '{name}': {info.text}", BACK)


async def run(request: Request) -> Response:
    """Enqueue one task of a schedule at once."""
    name = needed(await form_of(request), "name", "which schedule")
    handle = await queue_of(request).schedules.run_now(name)
    return said(request, f"Schedule '{name}' enqueued task {handle.id}.", BACK, task=handle.id)


async def ask_remove(request: Request) -> Response:
    """Say what it means to remove a schedule: that can't be taken back."""
    name = ask_of(request).query.get("name") or ""
    return page(request, "removal.html", title="Remove", name=name)


async def remove(request: Request) -> Response:
    """Delete a schedule; its tasks stay."""
    name = needed(await form_of(request), "name", "which schedule")
    await queue_of(request).schedules.remove(name)
    text = f"Schedule '{name}' is removed. One that the code declares comes back with its start."
    return said(request, text, BACK)


def routes() -> list[BaseRoute]:
    """Return the routes of all of it."""
    may = Role.OPERATE
    doing = {"save": save, "pause": pause, "resume": resume, "run": run, "remove": remove}
    return [
        route("/schedules/edit", ask_schedule, needs=may),
        route("/schedules/pause", ask_pause, needs=may),
        route("/schedules/remove", ask_remove, needs=may),
        route("/schedules/preview", preview, needs=may, methods=["POST"]),
        *(
            route(f"/schedules/{word}", handler, needs=may, methods=["POST"])
            for word, handler in doing.items()
        ),
    ]
