"""Check the values of a call before anything is written: names, ids, counts, spans, moments."""

from __future__ import annotations

import enum
import re
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from wopr.domain.errors import InvalidCallError, QueryError
from wopr.domain.jsontext import safe_text, shown, type_name, weigh
from wopr.domain.status import TaskPriority

E = TypeVar("E", bound=enum.Enum)

_CANONICAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch

LONGEST_NAME = 200
LONGEST_SECONDS = 3.2e9
"""A hundred years."""
MOST_VALUES = 100_000
"""So many values the parameters of a query may hold: DuckDB takes them one by one, and nothing
else of the process goes on meanwhile."""
MOST_PARTS = 10_000_000
MOST_LEVELS = 32
"""How big and how deep a parameter of a query may be."""


def check_label(value: object, what: str, *, longest: int = LONGEST_NAME) -> str:
    """Return a name, a category or a key, if it can be one."""
    if not isinstance(value, str):
        raise InvalidCallError(f"{what} must be a str, not {type_name(value)} {shown(value)}.")
    text = str.__str__(value)  # what a subclass makes of itself is not stored
    if not text.strip() or len(text) > longest or "\x00" in text:
        raise InvalidCallError(
            f"{what} must have 1 to {longest} characters, without NUL; this one has {len(text)}: "
            f"{shown(text)}"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidCallError(f"{what} is not valid Unicode: {shown(text)}") from error
    return text


def check_id(task_id: object) -> str:
    """Return a task's id in its canonical form; a text that is no id is one nobody has."""
    if not isinstance(task_id, str):
        raise InvalidCallError(f"A task id is a str, not {type_name(task_id)} {shown(task_id)}.")
    text = str.__str__(task_id)
    if _CANONICAL(text):
        return text
    try:
        return str(UUID(text))
    except ValueError:
        return text


def is_task_id(text: str) -> bool:
    """Whether a text has the form of a task's id."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def check_priority(value: object) -> int:
    """Return a priority as its number."""
    if not isinstance(value, TaskPriority):
        raise InvalidCallError(
            f"priority must be a TaskPriority (LOW, NORMAL, HIGH or CRITICAL), not "
            f"{type_name(value)} {shown(value)}."
        )
    return int(value)


def check_count(value: object, what: str, *, least: int = 0, most: int = 2**31 - 2) -> int:
    """Return a whole number within its limits."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = int.__int__(value)
        if least <= number <= most:
            return number
    raise InvalidCallError(
        f"{what} must be a whole number from {least} to {most}, not {shown(value)}."
    )


def check_seconds(value: object, what: str, *, zero: str) -> float:
    """Return a duration in seconds, given as a number or a timedelta."""
    seconds = -1.0
    if isinstance(value, timedelta):
        seconds = timedelta.total_seconds(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        seconds = float(min(max(int.__int__(value), -1), 10**12))
    elif isinstance(value, float):
        seconds = float.__float__(value)
    if not 0.0 <= seconds <= LONGEST_SECONDS:  # NaN is neither
        raise InvalidCallError(
            f"{what} must be a number of seconds from 0 to {LONGEST_SECONDS:,.0f}, or a timedelta "
            f"that comes to one, not {shown(value)}."
        )
    if not seconds and zero == "refuse":
        raise InvalidCallError(f"{what} must be more than 0 seconds.")
    return seconds


def check_retain(value: object) -> float:
    """Return how many seconds a task is kept after its end."""
    return check_seconds(value, "retain", zero="allow")


def check_moment(value: object, what: str = "run_at") -> datetime:
    """Return an aware moment as naive UTC."""
    if not isinstance(value, datetime):
        raise InvalidCallError(f"{what} must be a datetime, not {type_name(value)} {shown(value)}.")
    try:
        if value.utcoffset() is not None:
            return value.astimezone(UTC).replace(tzinfo=None)
    except Exception as error:
        raise InvalidCallError(
            f"{what}={shown(value)} is out of range or has a broken time zone: {safe_text(error)}"
        ) from error
    raise InvalidCallError(
        f"{what}={shown(value)} has no time zone, so it could mean any of 30 moments. Use e.g. "
        "datetime.now(UTC) + timedelta(hours=1), or datetime(…, tzinfo=ZoneInfo('Asia/Tokyo'))."
    )


def check_tags(value: object) -> tuple[str, ...]:
    """Return the tags of a call."""
    try:
        if isinstance(value, list | tuple | set | frozenset):
            return tuple(check_label(tag, "a tag") for tag in value)
    except InvalidCallError:
        raise
    except Exception as error:
        raise InvalidCallError(f"tags can't be read: {safe_text(error)}") from error
    raise InvalidCallError(f"tags must be a sequence of str, not {shown(value)}.")


def check_query(query: object, params: Sequence[object]) -> str:
    """Return the text of a query, if it and its parameters can be handed to a database.

    Raises:
        QueryError: They can't. A list that contains itself would take the process down.
    """
    if not isinstance(query, str):
        raise QueryError(f"A query is a text, not {type_name(query)} {shown(query)}.")
    text = str.__str__(query)
    try:
        text.encode()
        _check_values(params)
        for value in params:
            weigh(value, MOST_PARTS, MOST_LEVELS)
    except UnicodeEncodeError as error:
        raise QueryError(f"The query is not valid Unicode: {shown(text)}") from error
    except Exception as error:
        raise QueryError(f"A parameter of the query can't be used: {safe_text(error)}") from error
    return text


def _check_values(params: Sequence[object]) -> None:
    """Refuse parameters of which there are too many inside of each other."""
    count = 0
    left: list[tuple[object, int]] = [(value, 1) for value in params[: MOST_VALUES + 1]]
    while left:
        value, level = left.pop()
        if isinstance(value, dict | list | tuple | set | frozenset | deque):
            count += len(value)
            if count > MOST_VALUES:
                raise ValueError(
                    f"its values are more than {MOST_VALUES:,}. Ask in several queries, or pass "
                    "them as one text: … in (select unnest(string_split(?, ',')))"
                )
            if level > MOST_LEVELS:
                raise ValueError("it is nested too deeply, or contains itself")
            inner = [*value, *value.values()] if isinstance(value, dict) else value
            left += [(one, level + 1) for one in inner]


def check_member(value: object, what: str, kind: type[E]) -> E:
    """Return a member of an enum, if it is one."""
    if isinstance(value, kind):
        return value
    names = ", ".join(f"{kind.__name__}.{member.name}" for member in kind)
    raise InvalidCallError(f"{what} must be one of {names}, not {shown(value)}.")
