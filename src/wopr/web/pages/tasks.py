"""Tasks: those of a selection, newest first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from wopr.core.past import Past
from wopr.core.tasks import SelectedTasks
from wopr.domain.act import Preview
from wopr.domain.errors import InvalidCallError, TaskNotFoundError
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskInfo
from wopr.insights.taskqueries import WORDS as NAMES
from wopr.web.guard.roles import Role
from wopr.web.pages import words
from wopr.web.pages.asking import Ask, ask_of
from wopr.web.pages.questions import noted
from wopr.web.pages.rendering import page
from wopr.web.pages.showing import Page
from wopr.web.pages.then import counts_then, tasks_then
from wopr.web.pages.travel import past_of
from wopr.web.pages.workloads import usual_runs
from wopr.web.routing import route

PER_PAGE = 50
MOST_NEW = 200
"""So many tasks that came since are counted above the table."""
COUNT_SECONDS = 5.0
NAMES_SECONDS = 30.0
NOTED_SECONDS = 300.0
"""A condition in SQL of a page that stays open is noted so often."""
MOST_FACETS = 8


_LIVE = ("pending", "retry")
_TAKEN = (
    ("retry", ("failed",)),
    ("cancel", ("started", *_LIVE)),
    ("run-again", ("success", "cancelled")),
    ("more", _LIVE),
)
"""To tasks of which status a button can do something."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What the table shows."""

    tasks: tuple[TaskInfo, ...]
    next: str | None
    new: int = 0


def tasks_of(ask: Ask, given: words.Given) -> SelectedTasks:
    """Return the tasks that are asked for.

    Raises:
        HTTPException: a condition in SQL is among it, and the caller may not ask in SQL.
        InvalidCallError: a value can't be what it has to be.
    """
    if "where" in given and not ask.caller.role.allows(Role.ADMIN):
        raise HTTPException(
            403,
            f"where= is a condition in SQL, which needs the role admin; {ask.caller.name} has "
            f"{ask.caller.role}. Select with the other words.",
        )
    return ask.queue.tasks.where(**words.selection(given))


async def note(ask: Ask, given: words.Given) -> None:
    """Note a condition in SQL as a question: once in a while, as a page goes on asking it."""
    if "where" in given:
        question = f"where {given['where'][0]}"
        key = ("noted", ask.caller.name, question)
        await ask.recent.get(key, NOTED_SECONDS, lambda: noted(ask.queue, question), late=0.0)


async def counts(ask: Ask, given: words.Given) -> Preview:
    """Return how many tasks are selected, by name and status."""
    selected = tasks_of(ask, given)
    return await ask.recent.get(("counts", words.text_of(given)), COUNT_SECONDS, selected.tally)


async def _values(ask: Ask) -> dict[str, Any]:
    given = words.given_of(ask.query)
    shown: dict[str, Any] = {
        "title": "Tasks",
        "given": given,
        "line": words.text_of(given),
        "trouble": None,
        "rows": Rows((), None),
        "statuses": (),
        "names": (),
        "verbs": (),
        "usual": {},
        "all": None,
        "total": 0,
        "cursor": ask.query.get("cursor"),
        "line_url": _with(given),
        "conditions": (),
    }
    try:
        shown["conditions"] = words.conditions(given)
        tasks_of(ask, given)  # refuses what the caller may not ask
        await note(ask, given)
        past = past_of(ask)
        if past is not None:
            return {**shown, **await _then(ask, past, given)}
        rows = await _rows(ask, given)
        tally = await counts(ask, {word: one for word, one in given.items() if word != "status"})
    except (InvalidCallError, TaskNotFoundError) as error:
        return {**shown, "trouble": str(error)}
    usual = await usual_runs(ask, sorted({one.name for one in rows.tasks}))
    return {**shown, "rows": rows, "usual": usual, **_tallied(tally, given), **_live(ask, rows)}


def _tallied(tally: Preview, given: words.Given) -> dict[str, Any]:
    """Return what the page says of how many there are."""
    chosen = given.get("status", [])
    by_status = Counter[str]()
    by_name = Counter[str]()
    for one in tally.counts:
        by_status[one.status.value] += one.count
        if not chosen or one.status.value in chosen:
            by_name[one.name] += one.count
    return {
        "statuses": [(status.value, by_status[status.value]) for status in TaskStatus],
        "verbs": [
            verb
            for verb, takes in _TAKEN
            if any(by_status[one] for one in takes if not chosen or one in chosen)
        ],
        "names": by_name.most_common(MOST_FACETS) if "name" not in given else (),
        "all": sum(by_status.values()),
        "total": sum(by_name.values()),
    }


async def _then(ask: Ask, past: Past, given: words.Given) -> dict[str, Any]:
    """Return what the page shows of a moment."""
    cursor = ask.query.get("cursor") or None
    rows, more = await tasks_then(past, given, PER_PAGE, cursor)
    counts_key = ("counts then", past.moment, words.text_of(given))
    told = await ask.recent.get(counts_key, COUNT_SECONDS, lambda: counts_then(past, given))
    return {"rows": Rows(rows, more), **told}


async def _rows(ask: Ask, given: words.Given) -> Rows:
    """Return a page; of a live one the tasks that it began with, and how many came since."""
    top, cursor = ask.query.get("top"), ask.query.get("cursor") or None
    most = PER_PAGE + (MOST_NEW if top and not cursor else 0)
    found = await tasks_of(ask, given).page(most, cursor)
    if not top or cursor:
        return Rows(found.tasks, found.next)
    old = [one for one in found.tasks if one.id <= top]
    shown = tuple(old[:PER_PAGE])
    more = shown[-1].id if shown and (len(old) > PER_PAGE or found.next) else None
    return Rows(shown, more, len(found.tasks) - len(old))


def _live(ask: Ask, rows: Rows) -> dict[str, Any]:
    """Return what the stream of the page has to know: the newest task that is shown."""
    if ask.past or "top" in ask.query:
        return {}
    top = rows.tasks[0].id if rows.tasks else ""
    return {"live_more": {"top": top}} if top else {}


def _with(given: words.Given) -> dict[str, Any]:
    return {word: values if len(values) > 1 else values[0] for word, values in given.items()}


async def known(ask: Ask) -> dict[str, list[str]]:
    """Return the values that words can have, the likeliest first."""

    async def found() -> dict[str, list[str]]:
        rows = (await ask.queue.sql(NAMES)).rows
        schedules = [one.name for one in await ask.queue.schedules.list()]
        return {
            "status": [status.value for status in TaskStatus],
            "name": list(dict.fromkeys(row[0] for row in rows)),
            "category": list(dict.fromkeys(row[1] for row in rows)),
            "schedule": schedules,
            "since": ["15min", "1h", "24h", "7d"],
            "until": ["15min", "1h", "24h", "7d"],
        }

    return await ask.recent.get("words", NAMES_SECONDS, found)


async def complete(request: Request) -> Response:
    """Answer what a search can become."""
    ask = ask_of(request)
    text = ask.query.get("q", "")[: words.LONGEST]
    lines = words.complete(text, await known(ask))
    return page(request, "completions.html", ask=ask, lines=lines)


async def search(request: Request) -> Response:
    """Lead to the page of what somebody typed; a line that can't be read is said on the page."""
    ask = ask_of(request)
    text = ask.query.get("q", "")
    try:
        given = words.parse(text)
        words.selection(given)
    except InvalidCallError as error:
        values = {**await _values(ask_of_nothing(ask)), "line": text, "trouble": str(error)}
        return page(request, "tasks.html", code=422, ask=ask, here="Tasks", **values)
    url = page_url(ask, _with(given))
    return RedirectResponse(url, 303, headers={"cache-control": "no-store"})


def ask_of_nothing(ask: Ask) -> Ask:
    """Return the same question without a selection."""
    return Ask(queue=ask.queue, caller=ask.caller, recent=ask.recent, root=ask.root, path="/tasks")


def page_url(ask: Ask, given: dict[str, Any]) -> str:
    """Return the URL of the page of a selection."""
    return f"{ask.root}/tasks" + (f"?{urlencode(given, doseq=True)}" if given else "")


PAGE = Page(
    here="Tasks",
    path="/tasks",
    template="tasks.html",
    values=_values,
    words=(*words.WORDS, "id", "cursor", "top"),
)


def routes() -> list[BaseRoute]:
    """Return the routes of the page."""
    return [
        route("/tasks/search", search, needs=Role.READ),
        route("/tasks/complete", complete, needs=Role.READ),
        *PAGE.routes(),
    ]
