"""Alerts: what somebody is told about."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from wopr.domain.alertrule import AlertCondition, AlertRule
from wopr.domain.level import NotificationLevel
from wopr.notifications.alertbook import AlertBook, AlertOptions
from wopr.queue.face import inside
from wopr.web.api.categories import Removed
from wopr.web.api.endpoints import Asked, Endpoint, Model
from wopr.web.api.fields import Label
from wopr.web.guard.roles import Role

ABOUT = "Alerts"
Condition = Literal[
    "failure",
    "final_failure",
    "recovery",
    "slow",
    "backlog_age",
    "backlog_size",
    "schedule_missed",
]


class Alert(Model):
    """An alert, without its name."""

    when: Condition
    task: Label | None = None
    """Only tasks of this name; `*` stands for any letters."""
    category: Label | None = None
    level: NotificationLevel | None = None
    """Of the notification; without it, by the condition."""
    threshold: Annotated[float, Field(ge=0, le=1e15)] | None = None
    """Seconds for `slow` and `backlog_age`, due tasks for `backlog_size`, failed attempts for
    `recovery`."""
    every: Annotated[float, Field(ge=1, le=366 * 86_400)] = 300.0
    """Seconds between two notifications about the same."""
    emits: Label = "alerts"
    """The category of the notification."""


class AlertDocument(TypedDict):
    """An alert."""

    name: str
    when: AlertCondition
    task: str | None
    category: str | None
    level: NotificationLevel
    threshold: float | None
    every: float
    emits: str


class Alerts(TypedDict):
    """All alerts, by name."""

    alerts: list[AlertDocument]


async def list_alerts(asked: Asked) -> Alerts:
    """Answer all alerts."""
    return {"alerts": [_document(rule) for rule in await _book(asked).all()]}


async def set_alert(asked: Asked) -> AlertDocument:
    """Add an alert, or change the one of this name."""
    options: AlertOptions = asked.body.model_dump()
    return _document(await _book(asked).add(asked.path["name"], **options))


async def remove_alert(asked: Asked) -> Removed:
    """Remove an alert."""
    return {"removed": await _book(asked).remove(asked.path["name"])}


def _book(asked: Asked) -> AlertBook:
    return AlertBook(asked.queue, inside(asked.queue).time)


def _document(rule: AlertRule) -> AlertDocument:
    return _ALERT.validate_python(rule.model_dump(exclude={"seen"}))


_ALERT = TypeAdapter(AlertDocument)


def _row(method: str, path: str, name: str, summary: str, handler: Any, **more: Any) -> Endpoint:
    return Endpoint(
        method=method,
        path=path,
        name=name,
        about=ABOUT,
        summary=summary,
        needs=Role.READ if method == "GET" else Role.OPERATE,
        handler=handler,
        **more,
    )


ENDPOINTS = (
    _row("GET", "/alerts", "list_alerts", "All alerts", list_alerts, answers=Alerts),
    _row(
        "PUT",
        "/alerts/{name:name}",
        "set_alert",
        "Add an alert, or change it",
        set_alert,
        takes=Alert,
        answers=AlertDocument,
    ),
    _row(
        "DELETE",
        "/alerts/{name:name}",
        "remove_alert",
        "Remove an alert",
        remove_alert,
        answers=Removed,
    ),
)
