"""Values as JSON text, without annotations: builtin types keep their type through tags.

Plain JSON stays plain. What JSON has no form for is an object with two members,
``{"$type": "datetime", "value": "2030-01-02T03:04:05+00:00"}``, readable from SQL.
"""

from __future__ import annotations

import base64
import dataclasses
from collections import deque
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import NoneType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfoNotFoundError

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from wopr.domain.errors import PayloadError, PayloadTooLargeError
from wopr.domain.guarded import safe_text, shown, type_name
from wopr.domain.zones import is_noted, with_notes, zone_notes, zone_problem

__all__ = [
    "MAX_INT_DIGITS",
    "TAG",
    "MisfitError",
    "OverBudgetError",
    "RefusedError",
    "clip",
    "decode_plain",
    "encode_plain",
    "json_reason",
    "module_name",
    "numpy_hint",
    "readable",
    "safe_text",
    "shown",
    "tagged_text",
    "to_text",
    "too_large",
    "type_name",
    "untag",
    "weigh",
]

TAG = "$type"
_TAGGED = {TAG, "value"}
MAX_INT_DIGITS = 4_300
"""Python itself reads no longer integer from text (sys.set_int_max_str_digits)."""

_DURATION: TypeAdapter[timedelta] = TypeAdapter(timedelta)

_WRITE: dict[type, Callable[[Any], str]] = {
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: lambda value: str(_DURATION.dump_python(value, mode="json")),
    UUID: str,
    Decimal: str,
    bytes: lambda value: base64.b64encode(value).decode(),
    float: repr,  # only for NaN and the infinities
}
_READ: dict[str, Callable[[Any], object]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": _DURATION.validate_python,
    "UUID": UUID,
    "Decimal": Decimal,
    "bytes": lambda value: base64.b64decode(value, validate=True),
    "float": float,
    "tuple": lambda value: tuple(untag(item) for item in value),
    "set": lambda value: {untag(item) for item in value},
    "frozenset": lambda value: frozenset(untag(item) for item in value),
    "dict": lambda value: {untag(key): untag(item) for key, item in value},
    "any": lambda value: untag(value),  # noqa: PLW0108 - defined below
}


class RefusedError(Exception):
    """A value has no JSON form; the message says why, the caller adds which value it was."""

    def __init__(self, reason: str, type_name: str | None = None) -> None:
        """Give the reason, and the type that has no form if that is it."""
        super().__init__(reason)
        self.reason = reason
        self.type_name = type_name
        self.path: list[str] = []

    def within(self, step: str) -> RefusedError:
        """Note that the refused value sits at ``step`` of its container."""
        if len(self.path) < 8:
            self.path.insert(0, step)
        return self

    def where(self) -> str:
        """Return the way to the refused value inside the argument, like ``[0]['key']``."""
        return "".join(self.path)


class MisfitError(RefusedError):
    """A value is not of the type that its annotation asks for."""

    def __init__(self, reason: str, *, detail: str = "") -> None:
        """Give the reason, and what of it is not known without."""
        super().__init__(reason)
        self.detail = detail or reason


class OverBudgetError(RefusedError):
    """A value has more parts than its limit has bytes."""


def numpy_hint(value: object) -> str:
    """Return what to do about a scalar of numpy's; nothing for any other value."""
    if module_name(value) != "numpy" or not hasattr(type(value), "item"):
        return ""
    return f"; a numpy.{type_name(value)} is a scalar of numpy's, its .item() gives the plain value"


def module_name(value: object) -> str:
    """Return the module of the type of ``value``, empty for builtins."""
    module = type.__getattribute__(type(value), "__module__")
    return module if type(module) is str and module != "builtins" else ""


class _Tagger:
    """One pass over one value, with a budget of parts so that sharing can't explode."""

    __slots__ = ("budget", "depth")

    def __init__(self, budget: int, depth: int) -> None:
        """Allow ``budget`` parts and ``depth`` levels."""
        self.budget = budget
        self.depth = depth

    def tag(self, value: object, level: int) -> object:
        """Return ``value`` as something JSON has a form for."""
        kind = type(value)
        self.budget -= 1 + (len(value) if kind is str or kind is bytes else 0)  # type: ignore[arg-type]
        if self.budget < 0:
            raise OverBudgetError("it has more parts than the limit has bytes")
        if kind is str or kind is int or kind is bool or value is None:
            return value
        if kind is float and value - value == 0.0:  # type: ignore[operator]
            return value
        if kind in _WRITE:
            self._reach(level + 1)
            return _written(value)
        if kind is list:
            return self._items(value, level)  # type: ignore[arg-type]
        if kind is dict:
            return self._mapping(value, level)  # type: ignore[arg-type]
        if kind is tuple or kind is set or kind is frozenset:
            return {TAG: kind.__name__, "value": self._items(value, level + 1)}  # type: ignore[arg-type]
        name = type_name(value)
        hint = numpy_hint(value)
        raise RefusedError(f"{name} has no JSON form of its own{hint}", None if hint else name)

    def _reach(self, level: int) -> None:
        if level > self.depth:
            raise RefusedError(f"it is nested deeper than {self.depth} levels, or contains itself")

    def _items(self, values: Iterable[object], level: int) -> list[object]:
        self._reach(level + 1)
        done: list[object] = []
        try:
            for item in values:
                done.append(self.tag(item, level + 1))  # noqa: PERF401 - its length is the place
        except RefusedError as error:
            raise error.within(f"[{len(done)}]") from None
        return done

    def _mapping(self, value: dict[object, object], level: int) -> object:
        plain = TAG not in value and all(type(key) is str for key in value)
        self._reach(level + 1 if plain else level + 3)
        key: object = None
        try:
            if plain:
                done = {}
                for key, item in value.items():
                    done[key] = self.tag(item, level + 1)
                self.budget -= len(value)
                return done
            pairs = []
            for key, item in value.items():
                pairs.append([self.tag(key, level + 3), self.tag(item, level + 3)])
        except RefusedError as error:
            step = repr(key)[:40] if type(key) in (str, int) else "…"
            raise error.within(f"[{step}]") from None
        return {TAG: "dict", "value": pairs}


def _written(value: object) -> dict[str, object]:
    written: dict[str, object] = {TAG: type(value).__name__, "value": _WRITE[type(value)](value)}
    if isinstance(value, datetime | time):
        problem = zone_problem(value)
        if problem is not None:
            raise RefusedError(problem)
        written |= zone_notes(value)
    return written


def tagged(value: object, budget: int = 262_144, depth: int = 64) -> object:
    """Return ``value`` as something JSON has a form for.

    Raises:
        RefusedError: It holds something else than builtin values, or is too deep.
    """
    return _Tagger(budget, depth).tag(value, 0)


def tagged_text(value: object, budget: int, depth: int) -> bytes:
    """Return ``value`` as JSON bytes in the tagged form.

    Raises:
        RefusedError: It holds something else than builtin values, or is too deep.
    """
    return to_text(tagged(value, budget, depth))


def to_text(value: object) -> bytes:
    """Return JSON-able ``value`` as JSON bytes.

    Raises:
        RefusedError: A text is not valid Unicode, or an int can't be read back.
    """
    try:
        return readable(to_json(value))
    except ValueError as error:
        raise RefusedError(json_reason(error)) from None


def readable(data: bytes) -> bytes:
    """Return ``data`` if it reads back as JSON.

    Raises:
        ValueError: It does not, because of an int of too many digits.
    """
    if len(data) > MAX_INT_DIGITS:
        from_json(data)
    return data


def json_reason(error: Exception) -> str:
    """Put an error of the JSON encoder in words."""
    text = safe_text(error)
    if "surrogates" in text:
        return "it holds a lone surrogate, which is not valid Unicode text (pass bytes instead)"
    if "out of range" in text or "digits" in text:
        return f"it holds an int of more than {MAX_INT_DIGITS:,} digits (pass a str instead)"
    if "ircular" in text or "depth" in text or "recursion" in text:
        return "it is nested too deeply, or contains itself"
    return text


def untag(value: object) -> object:
    """Turn parsed JSON back into builtin values. What is no tag of ours stays as it is."""
    if type(value) is list:
        return [untag(item) for item in value]
    if type(value) is not dict:
        return value
    if TAG in value and (value.keys() == _TAGGED or is_noted(value)):
        read = _READ.get(value[TAG]) if type(value[TAG]) is str else None
        if read is not None:
            try:
                found: Any = read(value["value"])
                return with_notes(found, value) if is_noted(value) else found
            except ZoneInfoNotFoundError as error:
                raise MisfitError(f"can't be read on this machine: {safe_text(error)}") from None
            except (ValueError, TypeError, ArithmeticError):
                return value
    return {key: untag(item) for key, item in value.items()}


def encode_plain(
    value: object,
    what: str,
    limit: int,
    depth: int,
    *,
    setting: str = "WOPR_TASKS_MAX_ARGS_BYTES",
) -> str:
    """Return ``value`` as JSON text in the tagged form, for when there is no annotation.

    Args:
        value: Builtin values only, nested as you like.
        what: Names the value in errors, like "the progress of task 'send'".
        limit: Most bytes of the text.
        depth: Most levels of JSON nesting.
        setting: Names in the error what raises the limit.

    Raises:
        PayloadTooLargeError: The text is over ``limit``.
        PayloadError: The value has no JSON form.
    """
    try:
        data = tagged_text(value, limit, depth)
    except OverBudgetError:
        raise too_large(what, None, limit, setting) from None
    except RefusedError as error:
        raise PayloadError(
            f"{what} can't be stored as JSON: at value{error.where()}, {error.reason}."
        ) from None
    except Exception as error:
        raise PayloadError(f"{what} can't be stored as JSON: {safe_text(error)}.") from error
    if len(data) > limit:
        raise too_large(what, len(data), limit, setting)
    return data.decode()


def decode_plain(text: str | None) -> object:
    """Return the value of a text of :func:`encode_plain`; None for no text.

    Raises:
        PayloadError: The text is not JSON.
    """
    if text is None:
        return None
    try:
        return untag(from_json(text))
    except Exception as error:
        raise PayloadError(
            f"The stored text {text[:60]!r} can't be read as JSON ({safe_text(error)})."
        ) from error


def too_large(what: str, size: int | None, limit: int, setting: str) -> PayloadTooLargeError:
    """Return the error for a payload of ``size`` bytes (None: not even counted)."""
    amount = f"{size:,}" if size is not None else f"more than {limit:,}"
    return PayloadTooLargeError(
        f"{what} would take {amount} bytes as JSON, the limit is {limit:,}. Keep big data in a "
        f"file or table and pass its name, or raise {setting}."
    )


_ATOMS = (NoneType, bool, int, float, datetime, date, time, timedelta, UUID, Decimal)


def weigh(value: object, budget: int, depth: int) -> int:
    """Return what is left of ``budget`` after a byte for each part inside ``value``.

    Looks into containers, dataclasses and models, so that a value that contains
    itself, or shares its parts a billion times, is refused before it is encoded.

    Raises:
        OverBudgetError: There are more parts than ``budget``.
        RefusedError: It is nested deeper than ``depth``.
    """
    budget -= 1
    if isinstance(value, (str, bytes)):
        budget -= len(value)
    elif type(value) not in _ATOMS:
        children = _children(value)
        if children and depth <= 0:
            raise RefusedError("it is nested too deeply, or contains itself")
        for child in children:
            budget = weigh(child, budget, depth - 1)
    if budget < 0:
        raise OverBudgetError("it has more parts than the limit has bytes")
    return budget


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    if hasattr(type(value), "__pydantic_validator__"):
        return list(vars(value).values())
    return ()


def clip(text: str, limit: int) -> str:
    """Return ``text`` cut in its middle to at most ``limit`` bytes of UTF-8.

    The start says what happened and the end of a traceback says where, so both
    stay, with a note of how much is gone. Lone surrogates and NUL characters
    become visible escapes.
    """
    if len(text) <= limit and text.isascii() and "\0" not in text:
        return text
    data = text.replace("\0", "\\x00").encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return data.decode()
    note = f"\n… [{len(data) - limit:,} bytes cut] …\n".encode()
    # Cutting makes room for the note as well, so the figure is set twice.
    note = f"\n… [{len(data) - limit + len(note):,} bytes cut] …\n".encode()
    if limit < 2 * len(note):
        return data[: max(limit, 0)].decode(errors="ignore")
    keep = limit - len(note)
    head, tail = data[: keep - keep // 2], data[len(data) - keep // 2 :]
    return (head + note + tail).decode(errors="ignore")
