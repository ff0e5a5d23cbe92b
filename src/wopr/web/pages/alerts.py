"""Alerts: what somebody is told about, and what became of the notifications."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from wopr.domain.alertrule import AlertCondition, AlertRule
from wopr.domain.clock import new_identity
from wopr.domain.errors import InvalidCallError
from wopr.domain.level import NotificationLevel
from wopr.domain.spoken import counted
from wopr.domain.task import TaskInfo
from wopr.notifications.alertbook import AlertBook
from wopr.notifications.delivery import TASK
from wopr.notifications.event import CATEGORY, NotificationEvent
from wopr.queue.face import inside
from wopr.queue.queue import TaskQueue
from wopr.web.guard.roles import Role
from wopr.web.pages.asking import Ask, ask_of
from wopr.web.pages.buckets import now_of
from wopr.web.pages.forms import form_of, needed, real
from wopr.web.pages.rendering import page
from wopr.web.pages.saying import said
from wopr.web.pages.showing import Page
from wopr.web.pages.travel import moment_of, past_of
from wopr.web.routing import caller_of, queue_of, route

BACK = "/alerts"
MOST_DELIVERIES = 50
SECONDS = 2.0


def _book(queue: TaskQueue) -> AlertBook:
    return AlertBook(queue, inside(queue).time)


async def _values(ask: Ask) -> dict[str, Any]:
    async def found() -> list[TaskInfo]:
        reads = past_of(ask) or ask.queue
        return await reads.get_tasks(CATEGORY, name=TASK, limit=MOST_DELIVERIES)

    key = ("deliveries", moment_of(ask))
    deliveries = [_delivery(info) for info in await ask.recent.get(key, SECONDS, found)]
    return {
        "title": "Alerts",
        "alerts": await _book(ask.queue).all(),
        "deliveries": deliveries,
        "handlers": sorted({one["handler"] for one in deliveries}),
        "delivers": TASK in ask.queue.task_functions,
    }


def _delivery(info: TaskInfo) -> dict[str, Any]:
    """Return what a row says of a delivery; its event is an object or what was stored of one."""
    handler, event = [*info.args, None, None][:2]
    if isinstance(event, NotificationEvent):
        event = event.to_dict()
    told = event if isinstance(event, dict) else {}
    return {
        "info": info,
        "handler": str(handler),
        "title": str(told.get("title", "")),
        "level": str(told.get("level", "")),
        "category": str(told.get("category", "")),
    }


async def ask_alert(request: Request) -> Response:
    """Ask what an alert is to be."""
    ask = ask_of(request)
    name = ask.query.get("name") or None
    rule = next((one for one in await _book(ask.queue).all() if one.name == name), None)
    return page(
        request,
        "alert.html",
        title="Alert",
        rule=rule,
        conditions=list(AlertCondition),
        levels=list(NotificationLevel),
    )


async def save(request: Request) -> Response:
    """Add an alert, or change the one of this name."""
    form = await form_of(request)
    name = needed(form, "name", "what the alert is called")
    options: dict[str, Any] = {
        "when": needed(form, "when", "what the alert waits for"),
        "task": form.get("task"),
        "category": form.get("category"),
        "level": form.get("level"),
        "threshold": real(form, "threshold", "The threshold"),
    }
    every = real(form, "every", "The seconds between two notifications")
    options |= {} if every is None else {"every": every}
    options |= {"emits": form["emits"]} if "emits" in form else {}
    rule = await _book(queue_of(request)).add(name, **options)
    return said(request, f"Alert '{rule.name}' is stored. A running service knows it soon.", BACK)


async def remove(request: Request) -> Response:
    """Remove an alert."""
    name = needed(await form_of(request), "name", "which alert")
    was = await _book(queue_of(request)).remove(name)
    text = "is removed" if was else "was removed before"
    return said(request, f"Alert '{name}' {text}. One that the code adds comes back.", BACK)


async def test(request: Request) -> Response:
    """Send a notification as an alert would, to one handler."""
    form = await form_of(request)
    queue = queue_of(request)
    handler = needed(form, "handler", "to which handler")
    rule = next((one for one in await _book(queue).all() if one.name == form.get("name")), None)
    if TASK not in queue.task_functions:
        raise InvalidCallError(
            "This process has no NotificationService, so it can't send anything. Serve the "
            "dashboard from the application that has one: wopr web module:queue, or "
            "wopr worker module:queue --web. Or from its code: await service.emit(…)."
        )
    event = _event(rule, caller_of(request).name, now_of(queue))
    task_id = (await queue.enqueue(TASK, (handler, event))).id
    text = f"A test to '{handler}' is on its way: {counted(1, 'delivery')}, task {task_id}."
    return said(request, text, BACK)


def _event(rule: AlertRule | None, who: str, now: datetime) -> NotificationEvent:
    about = "a test" if rule is None else f"a test of the alert '{rule.name}'"
    return NotificationEvent(
        id=new_identity().hex(),
        category="alerts" if rule is None else rule.emits,
        level=NotificationLevel.INFO if rule is None else rule.level,
        title=f"This is {about}",
        message=f"{who} sent it from the dashboard. Nothing has happened.",
        created_at=now,
    )


PAGE = Page(here="Alerts", path=BACK, template="alerts.html", values=_values, words=("name",))


def routes() -> list[BaseRoute]:
    """Return the routes of the page, and of what can be done on it."""
    may = Role.OPERATE
    return [
        *PAGE.routes(),
        route("/alerts/edit", ask_alert, needs=may),
        route("/alerts/save", save, needs=may, methods=["POST"]),
        route("/alerts/remove", remove, needs=may, methods=["POST"]),
        route("/alerts/test", test, needs=may, methods=["POST"]),
    ]
