"""Acts: who did what when to how many tasks, and taking it back."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from wopr.domain.act import Act
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.masking import masked
from wopr.domain.spoken import named
from wopr.domain.stored import MOST
from wopr.insights import pagequeries
from wopr.web.guard.roles import Role
from wopr.web.pages.asking import Ask
from wopr.web.pages.saying import said_of
from wopr.web.pages.showing import Page
from wopr.web.pages.travel import moment_of, until
from wopr.web.routing import queue_of, route

PER_PAGE = 50
SECONDS = 2.0
CAN_BE_UNDONE = frozenset(
    {
        *("cancel", "set-priority", "move", "delay", "revoke-tasks"),
        *("limit", "pause", "revoke", "alert"),
        *("remove-limit", "resume", "unrevoke", "remove-alert"),
    }
)
"""The verbs of acts that can be taken back."""


async def _values(ask: Ask) -> dict[str, Any]:
    acts = await acts_of(ask, number_of(ask.query.get("before")))
    undone = {act.undoes: act.number for act in acts if act.undoes is not None}
    return {
        "title": "Acts",
        "rows": [
            {"act": act, "about": _said(act.selection), "detail": _detail(act)}
            for act in acts[:PER_PAGE]
        ],
        "more": len(acts) > PER_PAGE,
        "undone": undone,
        "can_be_undone": CAN_BE_UNDONE,
    }


async def acts_of(ask: Ask, before: int | None) -> list[Act]:
    """Return a page of acts and one more, the newest first, those before a number."""
    if before is None and moment_of(ask) is not None:
        before = (await ask.queue.sql(pagequeries.ACTS_UNTIL, until(ask))).scalar()
    return await ask.recent.get(
        ("acts", before), SECONDS, lambda: ask.queue.acts(PER_PAGE + 1, before=before)
    )


def number_of(text: str | None) -> int | None:
    """Return the number of an act that a URL says, if it says one.

    Raises:
        InvalidCallError: it is none.
    """
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:30]) <= MOST:
        raise InvalidCallError(f"The number of an act is a whole number, not {shown(text)}.")
    return int(text)


def _said(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return " ".join(named(value)) if isinstance(value, dict) else text


def _detail(act: Act) -> str:
    """Return what an act set: of a rule what it says since then."""
    try:
        detail = json.loads(act.detail)
    except ValueError:
        return act.detail
    if not isinstance(detail, dict):
        return act.detail
    after = detail.get("after") or {} if "before" in detail else detail
    hidden = {"by", "origin", "reason", "category", "task", "key", "name"}
    shown_ = {
        name: masked(value, name)
        for name, value in after.items()
        if value is not None and not ("before" in detail and name in hidden)
    }
    return " ".join(named(shown_))


async def undo(request: Request) -> Response:
    """Take back what can be of an act."""
    number = number_of(request.path_params["number"])
    assert number is not None, "the path has one"
    answer = await queue_of(request).undo(number)
    return said_of(request, answer, f"of act {number} taken back", "/acts")


PAGE = Page(here="Acts", path="/acts", template="acts.html", values=_values, words=("before",))


def routes() -> list[BaseRoute]:
    """Return the routes of the page, and of what can be done on it."""
    return [
        *PAGE.routes(),
        route("/acts/{number}/undo", undo, needs=Role.OPERATE, methods=["POST"]),
    ]
