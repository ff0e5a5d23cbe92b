"""Notes in the JSON of a value: what its fields don't say, beside them.

Which fields of a model were set, its private attributes, the zone of a datetime: pydantic's JSON
has no place for them. They stand in it under ``$type``, and every field stays where it was:
``{"size": 3, "color": "red", "$type": {"set": ["size"]}}``.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sized
from datetime import datetime, time
from typing import Any

from wopr.domain.jsontext import TAG, tagged, untag
from wopr.domain.sameness import fields_of, is_model, private_of, same_private
from wopr.domain.zones import is_noted, plain_zone, with_notes, zone_notes

_SET, _PRIVATE, _MOST = "set", "private", "maxlen"


_BOUNDED = {TAG, "value", _MOST}


class MisplacedError(Exception):
    """A note is beside something that it says nothing about."""


def noted(value: Any, json: Any, back: Any) -> Any:
    """Return ``json``, the JSON of ``value``, with notes.

    Args:
        value: what was given.
        json: what its fields say, under their names.
        back: what would be read of that; notes say what it lacks.

    Raises:
        RefusedError: a private attribute has no JSON form.
    """
    if isinstance(value, datetime | time):
        notes = zone_notes(value)
        kind = "datetime" if isinstance(value, datetime) else "time"
        return {TAG: kind, "value": json, **notes} if notes and type(json) is str else json
    if is_model(value):
        if type(json) is not dict:  # a root model is what it holds
            inner = getattr(value, "root", None)
            return json if inner is None else noted(inner, json, getattr(back, "root", None))
        return _noted_fields(fields_of(value), json, back) | _model_notes(value, json, back)
    if dataclasses.is_dataclass(value) and type(json) is dict:
        names = [field.name for field in dataclasses.fields(value)]
        fields = {name: getattr(value, name, None) for name in names}
        return _noted_fields(fields, json, back)
    if isinstance(value, dict) and type(json) is dict and len(value) == len(json):
        others = back.values() if isinstance(back, dict) and len(back) == len(value) else ()
        return dict(zip(json, _noted_items(value.values(), json.values(), others), strict=True))
    if isinstance(value, list | tuple | deque) and type(json) is list and len(value) == len(json):
        items = _noted_items(value, json, back if isinstance(back, list | tuple | deque) else ())
        if isinstance(value, deque) and value.maxlen is not None:
            return {TAG: "deque", "value": items, _MOST: value.maxlen}
        return items
    return json


def _noted_items(values: Iterable[Any], json: Iterable[Any], back: Iterable[Any]) -> list[Any]:
    others = iter(back)
    return [noted(one, two, next(others, None)) for one, two in zip(values, json, strict=True)]


def _noted_fields(fields: Mapping[str, Any], json: dict[str, Any], back: Any) -> dict[str, Any]:
    return {
        name: noted(fields[name], item, getattr(back, name, None)) if name in fields else item
        for name, item in json.items()
    }


def _model_notes(value: Any, json: dict[str, Any], back: Any) -> dict[str, Any]:
    notes: dict[str, Any] = {}
    if value.model_fields_set != json.keys():
        notes[_SET] = sorted(value.model_fields_set)
    theirs = private_of(back) if type(back) is type(value) else {}
    private = {
        name: tagged(item)
        for name, item in private_of(value).items()
        if not same_private(item, theirs.get(name))
    }
    if private:
        notes[_PRIVATE] = private
    return {TAG: notes} if notes else {}


def without_notes(json: Any) -> Any:
    """Return the JSON as its annotation reads it; the very same object if it has no notes."""
    if type(json) is list:
        items = [without_notes(item) for item in json]
        return items if any(map(_is_not, items, json)) else json
    if type(json) is not dict:
        return json
    if is_noted(json):
        return json["value"]
    if _is_bounded(json):
        return without_notes(json["value"])
    plain = {key: without_notes(item) for key, item in json.items()}
    if type(plain.get(TAG)) is dict:
        del plain[TAG]
        return plain
    return plain if any(map(_is_not, plain.values(), json.values())) else json


def restored(value: Any, json: Any) -> Any:
    """Return ``value``, as it was read of ``json`` without notes, with what they say.

    Raises:
        MisplacedError: they say it about something else.
        ZoneInfoNotFoundError: a time zone is not known on this machine.
    """
    if isinstance(value, datetime | time):
        plain = plain_zone(value)
        return with_notes(plain, json) if _has_notes(json) else plain
    if is_model(value):
        return _restored_model(value, json)
    if isinstance(value, deque) and _is_bounded(json):
        return deque(_restored_items(value, json["value"]), json[_MOST])
    if _has_notes(json):
        raise MisplacedError
    if dataclasses.is_dataclass(value):
        own = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        for name, item in _restored_fields(own, json):
            object.__setattr__(value, name, item)
        return value
    return _restored_items(value, json)


def _restored_items(value: Any, json: Any) -> Any:
    if isinstance(value, dict):
        for key, other in zip([*value], _beside(json, dict, value), strict=True):
            value[key] = restored(value[key], other)
    elif isinstance(value, list | deque):
        for at, other in enumerate(_beside(json, list, value)):
            value[at] = restored(value[at], other)
    elif isinstance(value, tuple):
        items = list(map(restored, value, _beside(json, list, value)))
        if any(map(_is_not, items, value)):
            return type(value)._make(items) if hasattr(value, "_make") else tuple(items)
    elif type(value) in (set, frozenset) and any(isinstance(one, datetime | time) for one in value):
        return type(value)(restored(item, None) for item in value)
    return value


def _has_notes(json: Any) -> bool:
    if type(json) is not dict:
        return False
    return type(json.get(TAG)) is dict or is_noted(json) or _is_bounded(json)


def _is_bounded(json: Any) -> bool:
    """Whether it is the JSON of a deque that holds so many items at most."""
    known = type(json) is dict and json.get(TAG) == "deque" and json.keys() == _BOUNDED
    return known and type(json[_MOST]) is int and 0 <= json[_MOST] <= sys.maxsize


def _restored_model(value: Any, json: Any) -> Any:
    if type(json) is not dict:
        if hasattr(value, "root"):
            vars(value)["root"] = restored(value.root, json)
        return value
    extra = value.__pydantic_extra__ or {}
    for name, item in _restored_fields(fields_of(value), json):
        (extra if name in extra else vars(value))[name] = item
    notes = json.get(TAG)
    if type(notes) is dict:
        if _SET in notes:
            object.__setattr__(value, "__pydantic_fields_set__", set(notes[_SET]))
        for name, item in notes.get(_PRIVATE, {}).items():
            private_of(value)[name] = untag(item)
    return value


def _restored_fields(fields: Mapping[str, Any], json: Any) -> list[tuple[str, Any]]:
    """Return those of the fields that are other ones now."""
    beside = json if type(json) is dict else {}
    pairs = [(name, item, restored(item, beside.get(name))) for name, item in fields.items()]
    return [(name, new) for name, old, new in pairs if new is not old]


def _beside(json: Any, kind: type, items: Sized) -> list[Any]:
    """Return the JSON of each item, ``None`` where it is not known."""
    beside: Any = json if type(json) is kind else ()
    beside = beside.values() if isinstance(beside, dict) else beside
    return [*beside] if len(beside) == len(items) else [None] * len(items)


def _is_not(one: object, two: object) -> bool:
    return one is not two
