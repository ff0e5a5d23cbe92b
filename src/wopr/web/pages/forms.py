"""What somebody filled in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown

MOST_FIELDS = 60

Form = Mapping[str, str]


async def form_of(request: Request) -> Form:
    """Return the fields of a form; those that were left empty are not there."""
    async with request.form(max_fields=MOST_FIELDS, max_files=0) as form:
        given = {name: value for name, value in form.items() if isinstance(value, str)}
    return {name: value.strip() for name, value in given.items() if value.strip()}


def needed(form: Form, name: str, what: str) -> str:
    """Return a field.

    Raises:
        InvalidCallError: it was left empty.
    """
    if name not in form:
        raise InvalidCallError(f"Say {what}: it was left empty, so nothing was changed.")
    return form[name]


def whole(form: Form, name: str, what: str) -> int | None:
    """Return a whole number; ``None`` if it was left empty.

    Raises:
        InvalidCallError: it is none.
    """
    if name not in form:
        return None
    try:
        return int(form[name].replace(",", ""))
    except ValueError:
        raise InvalidCallError(
            f"{what} must be a whole number, not {shown(form[name])}. Nothing was changed."
        ) from None


def real(form: Form, name: str, what: str) -> float | None:
    """Return a number; ``None`` if it was left empty.

    Raises:
        InvalidCallError: it is none.
    """
    if name not in form:
        return None
    try:
        return float(form[name].replace(",", ""))
    except ValueError:
        raise InvalidCallError(
            f"{what} must be a number, not {shown(form[name])}. Nothing was changed."
        ) from None


def plain_json(form: Form, name: str, what: str, kind: type) -> Any:
    """Return a list or an object of JSON; ``None`` if it was left empty.

    Raises:
        InvalidCallError: it can't be read, or is of another kind.
    """
    if name not in form:
        return None
    called = "a list like [1, 2]" if kind is list else 'an object like {"customer": 7}'
    try:
        value = json.loads(form[name])
    except ValueError as error:
        raise InvalidCallError(
            f"{what} must be JSON, {called}; it can't be read: {error}. Nothing was changed."
        ) from None
    if not isinstance(value, kind):
        raise InvalidCallError(f"{what} must be {called}, not {shown(value)}. Nothing was changed.")
    return value
