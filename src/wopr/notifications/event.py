"""What people are told: one notification event."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from wopr.domain.checks import check_label
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import safe_text, shown
from wopr.domain.level import NotificationLevel

CATEGORY = "wopr.notifications"
"""Of the tasks that deliver, and of events about several categories. No alert is about it."""
LONGEST_TITLE = 500
DEDUP_KEY = "dedup_key"
"""In ``metadata``: events with the same one and the same level are repeats of each other."""
FORCE_EXTERNAL = "force_external"
"""In ``metadata``: if true, every route takes the event, whatever its category and level."""


@dataclass(frozen=True, slots=True, init=False)
class NotificationEvent:
    """One thing that somebody may have to know.

    Made with ``created_at=``, an aware datetime, or with ``timestamp=``, the same in ISO 8601.
    """

    id: str
    """The same at each delivery of this event; receivers tell repeats by it."""
    category: str
    level: NotificationLevel
    title: str
    message: str
    metadata: dict[str, Any]
    """JSON values."""
    created_at: datetime
    """Aware, in UTC."""

    def __init__(
        self,
        *,
        id: str,
        category: str,
        level: NotificationLevel,
        title: str,
        message: str = "",
        metadata: dict[str, Any] | None = None,
        created_at: datetime | None = None,
        timestamp: str | None = None,
    ) -> None:
        values = (id, category, level, title, message, {} if metadata is None else metadata)
        names = [item.name for item in fields(self)]
        for name, value in zip(names, (*values, _moment(created_at, timestamp)), strict=True):
            object.__setattr__(self, name, value)

    @property
    def timestamp(self) -> str:
        """``created_at`` in ISO 8601."""
        return self.created_at.isoformat()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values, as webhooks and subscribers get it."""
        return {
            "id": self.id,
            "category": self.category,
            "level": self.level.value,
            "title": self.title,
            "message": self.message,
            "metadata": self.metadata,
            "timestamp": self.timestamp,
            "created_at": self.timestamp,
        }


def _moment(created_at: datetime | None, timestamp: str | None) -> datetime:
    """Return when an event came about, in UTC.

    Raises:
        InvalidCallError: not exactly one of the two is given, or it is no aware moment.
    """
    if (created_at is None) == (timestamp is None):
        raise InvalidCallError("An event has created_at= or timestamp=, one of them.")
    try:
        moment = created_at or datetime.fromisoformat(str(timestamp))
        if moment.tzinfo is None:
            raise ValueError("it has no time zone")
        return moment.astimezone(UTC)
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise InvalidCallError(
            f"The time of an event is an aware datetime, or such a text in ISO 8601, not "
            f"{shown(timestamp if created_at is None else created_at)}: {safe_text(error)}."
        ) from error


def new_event(
    event_id: str,
    now: datetime,
    category: object,
    level: object,
    title: object,
    message: object,
    metadata: object,
) -> NotificationEvent:
    """Return an event of what a caller gave.

    Raises:
        InvalidCallError: a value can't be what it has to be.
    """
    if not isinstance(message, str):
        raise InvalidCallError(f"message must be a str, not {shown(message)}.")
    return NotificationEvent(
        id=event_id,
        category=check_category(category),
        level=check_level(level),
        title=check_label(title, "title", longest=LONGEST_TITLE),
        message=message,
        metadata=_metadata(metadata),
        created_at=now,
    )


def check_category(value: object) -> str:
    """Return a category of notifications: a text, or an enum member whose value is one.

    Raises:
        InvalidCallError: it is none.
    """
    return check_label(value.value if isinstance(value, Enum) else value, "category")


def check_level(value: object) -> NotificationLevel:
    """Return the level of this name.

    Raises:
        InvalidCallError: there is none.
    """
    given = value.value if isinstance(value, Enum) else value
    try:
        return NotificationLevel(given)
    except ValueError:
        names = ", ".join(level.value for level in NotificationLevel)
        raise InvalidCallError(f"level must be one of {names}, not {shown(value)}.") from None


def _metadata(value: object) -> dict[str, Any]:
    """Return a copy that holds nothing but JSON values."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidCallError(f"metadata must be a dict of JSON values, not {shown(value)}.")
    try:
        copied: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
    except Exception as error:
        raise InvalidCallError(
            f"metadata can't be stored as JSON: {safe_text(error)}. It may hold texts, numbers, "
            "booleans, None, and lists and dicts of these."
        ) from error
    return copied
