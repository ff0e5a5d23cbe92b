"""Schedules: added, changed, paused, run at once, and when they fire next."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from wopr.core.scheduleinfo import ScheduleInfo
from wopr.domain.jsoncalls import read_call
from wopr.domain.localtime import as_utc, zone
from wopr.domain.masking import masked
from wopr.domain.misfire import Misfire, Overlap
from wopr.domain.monthly import Monthly
from wopr.domain.schedule import planned
from wopr.domain.scheduleoptions import WHEN, parse_schedule_options
from wopr.domain.status import TaskPriority
from wopr.domain.unmasking import unmasked
from wopr.queue.queue import inside
from wopr.web.api.acts import Because
from wopr.web.api.calls import Args, Enqueued, Kwargs
from wopr.web.api.documents import plain
from wopr.web.api.endpoints import Answer, Asked, Endpoint, Model
from wopr.web.api.fields import Label, Priority, Retries, Seconds, Time
from wopr.web.guard.roles import Role

ABOUT = "Schedules"
MOST_PREVIEWED = 1_000
MOST_PARTS = 20
"""So many parts a combination has."""
_DOCUMENT = ConfigDict(use_attribute_docstrings=True)
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
Short = Annotated[str, Field(min_length=1, max_length=500)]
Span = Annotated[float, Field(gt=0, le=3.2e9, allow_inf_nan=False)]
Unit = Literal["weeks", "days", "hours", "minutes", "seconds"]


@with_config(_STRICT)
class EveryMonths(TypedDict, total=False):
    """Every so many months on a day."""

    every: Annotated[int, Field(ge=1, le=1_200)]
    day: Annotated[int, Field(ge=1, le=31)] | Literal["last"]
    at: Short
    """Time of day: `09:00`."""
    tz: Short


@with_config(_STRICT)
class When(TypedDict, total=False):
    """When it fires: exactly one of these, and the time zone."""

    every: Span | dict[Unit, Span]
    """Seconds, or `{"minutes": 5}`."""
    at: Short
    """Daily: `14:30`."""
    cron: Short
    """An expression of 5 fields, or 6 with the second first."""
    run_at: datetime
    """Once; without a zone it is a wall time in `tz`."""
    monthly: EveryMonths
    any_of: Annotated[list[When], Field(min_length=1, max_length=MOST_PARTS)]
    """Whenever one of several fires."""
    all_of: Annotated[list[When], Field(min_length=1, max_length=MOST_PARTS)]
    """When all of several fire at the same moment."""
    tz: Short
    """Name of the time zone; without it, UTC."""


@with_config(_STRICT)
class Plan(When, total=False):
    """What a schedule is told."""

    args: Args
    kwargs: Kwargs
    category: Label
    priority: Priority
    max_retries: Retries
    timeout: Seconds
    tags: Annotated[list[Label], Field(max_length=100)]
    misfire: Literal["skip", "run_once", "run_all"]
    """What to do about times later than `misfire_grace` seconds."""
    misfire_grace: Seconds
    misfire_limit: Annotated[int, Field(ge=1, le=10_000)]
    overlap: Literal["allow", "skip", "queue_one", "cancel_running"]
    """What to do while an earlier run goes on."""
    max_running: Annotated[int, Field(ge=1, le=2**31 - 2)]
    jitter: Seconds
    start_at: datetime
    end_at: datetime
    run_on_start: bool
    depends_on: Annotated[list[Label], Field(max_length=100)]
    """Schedules that have to succeed once before."""
    run_as: Label


@with_config(_STRICT)
class NewSchedule(Plan):
    """A schedule to add: its name, the name of its task, and what it is told."""

    name: Label
    task: Label


@with_config(_STRICT)
class PlanToPreview(Plan, total=False):
    """A schedule that is not stored, as it would be added: when it fires is what counts."""

    name: Label
    task: Label


@with_config(_DOCUMENT)
class ScheduleDocument(TypedDict):
    """A schedule and what it is doing. Times are in UTC."""

    name: str
    task: str
    category: str
    priority: Priority
    max_retries: int
    args: list[Any]
    kwargs: dict[str, Any]
    trigger: dict[str, Any]
    description: str
    """When it fires, in words."""
    misfire: str
    misfire_grace: float
    misfire_limit: int
    overlap: str
    max_running: int | None
    jitter: float
    start_at: Time
    end_at: Time
    run_on_start: bool
    depends_on: list[str]
    run_as: str | None
    tags: list[str]
    origin: str
    """`code` if a decorator declares it, else `call`."""
    paused_at: Time
    paused_reason: str | None
    next_fire_at: Time
    last_fire_at: Time
    last_task_id: str | None
    missed: int
    missed_times: list[datetime]
    skipped: int
    created_at: Time
    updated_at: Time
    live: list[str]
    """Ids of its tasks that have not ended."""
    reason: str
    """What it is doing, in a word."""
    text: str
    """The same in a sentence."""


class Schedules(TypedDict):
    """All schedules, by name."""

    schedules: list[ScheduleDocument]


class Times(TypedDict):
    """When it fires next."""

    times: list[datetime]


class PreviewQuery(Model):
    """How many times."""

    n: Annotated[int, Field(ge=1, le=MOST_PREVIEWED)] = 5


async def list_schedules(asked: Asked) -> Schedules:
    """Answer all schedules."""
    return {"schedules": [document_of(one) for one in await asked.queue.schedules.list()]}


async def add(asked: Asked) -> Answer:
    """Add a schedule."""
    given = dict(asked.body)
    name, task = given.pop("name"), given.pop("task")
    options = _options(asked, task, given)
    found = await asked.queue.schedules.add(name, task, **options)
    return Answer(document_of(found), 201)


async def get(asked: Asked) -> ScheduleDocument:
    """Answer one schedule."""
    return document_of(await asked.queue.schedules.get(asked.path["name"]))


async def change(asked: Asked) -> ScheduleDocument:
    """Change what is given of a schedule; a secret that was shown as a mask stays."""
    known = await asked.queue.schedules.get(asked.path["name"])
    given = dict(asked.body)
    if "args" in given:
        given["args"] = unmasked(given["args"], plain(list(known.args)))
    if "kwargs" in given:
        given["kwargs"] = unmasked(given["kwargs"], plain(known.kwargs))
    options = _options(asked, known.task, given)
    return document_of(await asked.queue.schedules.update(known.name, **options))


async def remove(asked: Asked) -> Answer:
    """Delete a schedule."""
    await asked.queue.schedules.remove(asked.path["name"])
    return Answer(None, 204)


async def pause(asked: Asked) -> ScheduleDocument:
    """Fire it no more."""
    reason = asked.body.reason or "paused by hand"
    return document_of(await asked.queue.schedules.pause(asked.path["name"], reason[:500]))


async def resume(asked: Asked) -> ScheduleDocument:
    """Go on with the next time after now."""
    return document_of(await asked.queue.schedules.resume(asked.path["name"]))


async def run(asked: Asked) -> Answer:
    """Enqueue one of its tasks at once."""
    handle = await asked.queue.schedules.run_now(asked.path["name"])
    return Answer({"id": handle.id}, 201)


async def preview(asked: Asked) -> Times:
    """Answer when it fires next."""
    return {"times": await asked.queue.schedules.preview(asked.path["name"], asked.query.n)}


async def preview_plan(asked: Asked) -> Times:
    """Answer when a schedule would fire, in its time zone; nothing is stored."""
    given = {**asked.body, **_when(asked.body)}
    trigger = parse_schedule_options(**{name: given[name] for name in WHEN & given.keys()})
    span = {name: as_utc(given[name], name) for name in ("start_at", "end_at") if name in given}
    now = inside(asked.queue).time.now()
    there = zone(given.get("tz") or "UTC")
    found = planned(trigger, asked.query.n, now, **span)
    return {"times": [_in(there, one) for one in found]}


def _in(there: tzinfo, moment: datetime) -> datetime:
    """Return a moment by the clocks of a zone; in UTC where these have no year for it."""
    try:
        return moment.astimezone(there)
    except OverflowError:
        return moment


def document_of(info: ScheduleInfo) -> ScheduleDocument:
    """Return a schedule as it is shown."""
    shown: Any = {name: getattr(info, name) for name in ScheduleDocument.__annotations__}
    shown |= {
        "priority": int(info.priority),
        "trigger": info.trigger.to_json(),
        "misfire": info.misfire.value,
        "overlap": info.overlap.value,
        "args": masked(plain(list(info.args))),
        "kwargs": masked(plain(info.kwargs)),
    }
    for name in ("depends_on", "tags", "missed_times", "live"):
        shown[name] = list(shown[name])
    found: ScheduleDocument = shown
    return found


def _options(asked: Asked, task: str, given: Any) -> dict[str, Any]:
    """Return what a schedule is told, as the queue takes it."""
    options: dict[str, Any] = {**given, **_when(given)}
    kinds: dict[str, Any] = {"priority": TaskPriority, "misfire": Misfire, "overlap": Overlap}
    for name, kind in kinds.items():
        if name in options:
            options[name] = kind(options[name])
    definition = inside(asked.queue).registry.definitions.get(task)
    if definition is not None and ("args" in options or "kwargs" in options):
        args, kwargs = options.get("args", ()), options.get("kwargs", {})
        if not options.get("depends_on"):  # what results fill is no part of the call
            args, kwargs = read_call(definition.codec, args, kwargs)
        options |= {"args": args, "kwargs": kwargs}
    return options


def _when(given: Any) -> dict[str, Any]:
    """Return when it fires, as the queue takes it."""
    found: dict[str, Any] = {}
    if "monthly" in given:
        found["monthly"] = Monthly(**given["monthly"])
    for name in ("any_of", "all_of"):
        if name in given:
            found[name] = [{**part, **_when(part)} for part in given[name]]
    return found


def _row(method: str, path: str, name: str, summary: str, handler: Any, **more: Any) -> Endpoint:
    problems = (404, 409) if "{" in path else ()
    given = {"needs": Role.READ if method == "GET" else Role.OPERATE, "problems": problems}
    return Endpoint(
        method=method,
        path=path,
        name=name,
        about=ABOUT,
        summary=summary,
        handler=handler,
        **{**given, "answers": ScheduleDocument, **more},
    )


_NAMED = "/schedules/{name:name}"
_WHY = {"takes": Because, "optional": True}
ENDPOINTS = (
    _row("GET", "/schedules", "list_schedules", "All schedules", list_schedules, answers=Schedules),
    _row(
        "POST",
        "/schedules",
        "add_schedule",
        "Add a schedule",
        add,
        takes=NewSchedule,
        statuses=(201,),
        problems=(409, 413),
    ),
    _row(
        "POST",
        "/schedules/preview",
        "preview_plan",
        "When a schedule would fire that is not stored",
        preview_plan,
        needs=Role.READ,
        takes=PlanToPreview,
        query=PreviewQuery,
        answers=Times,
    ),
    _row(
        "GET",
        f"{_NAMED}/preview",
        "preview_schedule",
        "When it fires next",
        preview,
        query=PreviewQuery,
        answers=Times,
    ),
    _row("POST", f"{_NAMED}/pause", "pause_schedule", "Fire it no more", pause, **_WHY),
    _row("POST", f"{_NAMED}/resume", "resume_schedule", "Fire it again", resume),
    _row(
        "POST",
        f"{_NAMED}/run",
        "run_schedule",
        "Enqueue one of its tasks at once",
        run,
        answers=Enqueued,
        statuses=(201,),
    ),
    _row("GET", _NAMED, "get_schedule", "Get a schedule", get),
    _row("PATCH", _NAMED, "change_schedule", "Change a schedule", change, takes=Plan),
    _row(
        "DELETE",
        _NAMED,
        "remove_schedule",
        "Delete a schedule",
        remove,
        answers=None,
        statuses=(204,),
        media=(),
    ),
)
