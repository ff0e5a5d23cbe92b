"""Subclasses of builtin values, like a datetime of another library, as annotations.

pydantic has no schema for them. Their JSON is that of what they are made of, and an annotation
that names them exactly says what to make of it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin
from uuid import UUID

from pydantic import GetCoreSchemaHandler, TypeAdapter
from pydantic_core import core_schema

_DATE = ("year", "month", "day")
_TIME = ("hour", "minute", "second", "microsecond", "tzinfo")


def _by_name(*names: str) -> Callable[[Any, Any], Any]:
    """Return what makes one class of another, by the attributes with these names."""

    def make(kind: Any, value: Any) -> Any:
        found = {name: getattr(value, name) for name in names}
        return kind(**found, fold=1) if getattr(value, "fold", 0) else kind(**found)

    return make


_MAKE: dict[type, Callable[[Any, Any], Any]] = {
    datetime: _by_name(*_DATE, *_TIME),
    date: _by_name(*_DATE),
    time: _by_name(*_TIME),
    timedelta: _by_name("days", "seconds", "microseconds"),
    UUID: _by_name("int"),
    str: lambda kind, value: kind(str.__str__(value)),
    float: lambda kind, value: kind(float.__float__(value)),
    int: lambda kind, value: kind(int.__int__(value)),
    bytes: lambda kind, value: kind(bytes.__getitem__(value, slice(None))),
    Decimal: lambda kind, value: kind(Decimal(value)),
}


class _Made:
    """The schema of a subclass of a builtin class."""

    def __init__(self, base: type) -> None:
        self._base = base

    def __get_pydantic_core_schema__(
        self, kind: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Validate instances, write them as the builtin class, and make them of its JSON."""
        make, base = _MAKE[self._base], self._base
        schema = handler.generate_schema(base)
        return core_schema.json_or_python_schema(
            core_schema.no_info_after_validator_function(lambda value: make(kind, value), schema),
            core_schema.is_instance_schema(kind),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: make(base, value), return_schema=schema
            ),
        )


def with_subclasses(hint: Any) -> Any:
    """Return an annotation in which pydantic knows the subclasses of builtin values too."""
    origin, args = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and origin is None:
        base = next((base for base in _MAKE if issubclass(hint, base)), hint)
        return hint if hint is base or _is_known(hint) else Annotated[hint, _Made(base)]
    if origin is Annotated:
        return Annotated[(with_subclasses(args[0]), *args[1:])]
    if origin in (Union, UnionType):
        return Union[tuple(map(with_subclasses, args))]  # noqa: UP007 - made of a tuple
    if hasattr(origin, "__class_getitem__") and args:
        return origin[tuple(map(with_subclasses, args))]
    return hint


def _is_known(hint: type) -> bool:
    try:
        TypeAdapter(hint)
    except Exception:  # noqa: BLE001 - whatever pydantic can't handle
        return False
    return True
