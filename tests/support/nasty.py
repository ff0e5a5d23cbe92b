"""Objects that are made to break whoever touches them."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Any, NoReturn


class TrapError(Exception):
    """What the nasty objects raise; it must never get out of a call."""


def _spring(*_: object, **__: object) -> NoReturn:
    raise TrapError("sprung")


class Evil:
    """Raises whatever is done with it."""

    __repr__ = __str__ = __format__ = __eq__ = __hash__ = __iter__ = _spring
    __len__ = __bool__ = __int__ = __index__ = __float__ = __lt__ = __gt__ = _spring
    __getitem__ = __contains__ = __call__ = _spring


class EvilText(str):
    """A text whose methods raise."""

    __slots__ = ()
    __repr__ = __str__ = __eq__ = __hash__ = __len__ = __iter__ = __contains__ = _spring
    strip = encode = _spring  # type: ignore[assignment]


class EvilInt(int):
    """A number whose methods raise."""

    __repr__ = __str__ = __eq__ = __hash__ = __lt__ = __le__ = __gt__ = __ge__ = _spring
    __index__ = __int__ = __bool__ = _spring  # type: ignore[assignment]


class EvilDict(dict[str, Any]):
    """A dict whose methods raise."""

    __iter__ = keys = items = values = __getitem__ = __len__ = _spring  # type: ignore[assignment]


class EvilList(list[Any]):
    """A list whose methods raise."""

    __iter__ = __len__ = __getitem__ = __repr__ = _spring  # type: ignore[assignment]


class EvilZone(tzinfo):
    """A time zone that does not know itself."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        """Raise."""
        _spring()


class EvilType(type):
    """A class whose class raises."""

    __repr__ = __str__ = __eq__ = __hash__ = __instancecheck__ = _spring  # type: ignore[assignment]


def nested(levels: int) -> list[Any]:
    """Return a list in a list in a list, and so on."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def itself() -> list[Any]:
    """Return a list that contains itself."""
    value: list[Any] = []
    value.append(value)
    return value


def shared(levels: int) -> list[Any]:
    """Return a list of few objects that is huge when written out."""
    value: list[Any] = [0]
    for _ in range(levels):
        value = [value, value]
    return value
