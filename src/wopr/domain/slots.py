"""One annotated place, a parameter or a result: its values as JSON and back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import date, timedelta
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, Unpack, get_args, get_origin
from uuid import UUID
from zoneinfo import ZoneInfoNotFoundError

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from wopr.domain.jsontext import (
    TAG,
    MisfitError,
    OverBudgetError,
    RefusedError,
    json_reason,
    numpy_hint,
    readable,
    safe_text,
    tagged_text,
    to_text,
    type_name,
    untag,
    weigh,
)
from wopr.domain.noting import MisplacedError, noted, restored, without_notes
from wopr.domain.sameness import difference, same
from wopr.domain.subclasses import with_subclasses
from wopr.domain.typenames import full_type_name

SCALARS: frozenset[type] = frozenset({int, str, float, bool, NoneType})
NOTHING: frozenset[type] = frozenset()
_CONFIG = ConfigDict(
    ser_json_bytes="base64",
    val_json_bytes="base64",
    ser_json_inf_nan="strings",
    ser_json_timedelta="iso8601",
)
# Schemas whose JSON form always reads back as the same value.
_EXACT = frozenset(
    {"int", "str", "float", "bool", "none", "decimal"}
    | {"list", "tuple", "set", "frozenset", "nullable"}
)
# So does that of these, if the value is of the very type.
_LEAVES: dict[str, type] = {"date": date, "timedelta": timedelta, "uuid": UUID, "bytes": bytes}
_TAG_BYTES = f'"{TAG}"'.encode()


class Slot:
    """Encode and decode the values of one annotation.

    An open slot (no annotation, ``Any``, ``object``, or a class that pydantic
    can't handle) takes builtin values in the tagged form. Any other is validated
    strictly, as a type checker would, and encoded by pydantic. Where the
    annotation leaves open how to read the JSON back (``datetime | str``,
    ``list[Any]``), the text is read back at once, and if that gives another
    value, notes are put into it, or the tagged form is used instead.
    """

    __slots__ = (
        "_adapter",
        "_depth",
        "_exact",
        "_leaf",
        "_members",
        "_tells_time",
        "hint",
        "is_open",
        "kinds",
        "name",
        "text",
    )

    def __init__(self, name: str, text: str, hint: Any, depth: int) -> None:
        """Make the slot ``name``, annotated with ``hint``, written as ``text``."""
        self.name = name
        self.text = text
        self.hint = hint
        self._depth = depth
        self._adapter = _adapter(hint)
        self.is_open = self._adapter is None
        self.kinds = SCALARS if self._adapter is None else _scalar_kinds(hint)
        schema: Any = {} if self._adapter is None else self._adapter.core_schema
        self._exact = self._adapter is not None and _is_exact(schema)
        self._leaf = _leaf(schema)
        self._tells_time = _mentions_time(schema)
        self._members: dict[str, Slot] | None = None

    # -- encoding ------------------------------------------------------------

    def encode(self, value: object, budget: int) -> bytes:
        """Return ``value`` as JSON.

        Raises:
            MisfitError: It doesn't fit the annotation.
            RefusedError: It has no JSON form.
            OverBudgetError: It surely takes more than ``budget`` bytes.
        """
        if type(value) in self.kinds and type(value) is not float:
            return to_text(value)
        if self._adapter is None:
            return tagged_text(value, budget, self._depth)
        if not self._exact and type(value) is not self._leaf:
            weigh(value, budget, self._depth)
        return self._encode(self._adapter, self._fitting(self._adapter, value), budget)

    def encode_loosely(self, value: object, budget: int) -> bytes:
        """Return ``value`` as JSON, in the tagged form when it doesn't fit the annotation."""
        if type(value) in self.kinds and type(value) is not float:
            return to_text(value)
        if self._adapter is None:
            return tagged_text(value, budget, self._depth)
        weigh(value, budget, self._depth)
        try:
            fitting = self._fitting(self._adapter, value)
        except MisfitError:
            data = tagged_text(value, budget, self._depth)
            return data if same(value, self.decode_loosely(from_json(data))) else _marked(data)
        return self._encode(self._adapter, fitting, budget)

    def _fitting(self, adapter: TypeAdapter[Any], value: object) -> object:
        try:
            return adapter.validate_python((value,), strict=True)[0]
        except ValidationError as error:
            raise self._misfit(error, value) from None

    def _misfit(self, error: ValidationError, value: object) -> MisfitError:
        first = error.errors(include_url=False, include_context=False)[0]
        place = "".join(f"[{step!r}]" for step in first["loc"][1:])
        detail = f"at {place}: {first['msg']}" if place else first["msg"]
        hint = numpy_hint(first.get("input"))
        text = f"must be {self.text}, not {full_type_name(value)} ({detail}{hint})"
        return MisfitError(text, detail=detail)

    def _encode(self, adapter: TypeAdapter[Any], value: object, budget: int) -> bytes:
        if self._exact or type(value) is self._leaf:
            return _dump(adapter, value)
        problem: RefusedError | None = None
        for form in _FORMS:
            try:
                data = form(adapter, value)
                back = self._read(data)
                lost = difference(value, back)
                if lost is None:
                    return data
                found = _changed(value, back, lost)
            except MisfitError as error:
                found = _unreadable(error)
            except RefusedError as error:
                found = error
            problem = problem or found
        assert problem is not None, "there is a form"
        try:
            data = tagged_text(value, budget, self._depth)
            data = data if _TAG_BYTES in data else _marked(data)
            if same(value, self._read(data)):
                return data
        except OverBudgetError:
            raise
        except RefusedError as error:
            if error.type_name is None and not isinstance(error, MisfitError):
                problem = error  # it says more, of a time zone without a name
        return self._as_member(value, problem)

    def _as_member(self, value: object, problem: RefusedError) -> bytes:
        """Encode ``value`` as the one member of a union that is its exact type."""
        for name, slot in self._union().items():
            if type(value) is (get_origin(slot.hint) or slot.hint):
                try:
                    data = slot.encode(value, MOST_BYTES)
                except RefusedError:
                    continue
                head = to_json({TAG: "member", "of": name})[:-1]
                return head + b',"value":' + data + b"}"
        raise problem

    def _union(self) -> dict[str, Slot]:
        """Return the members of a union; none of anything else."""
        if self._members is None:
            hints = list(_members(self.hint))
            self._members = {
                name: slot
                for hint in (hints if len(hints) > 1 else ())
                for name in [getattr(hint, "__name__", str(hint))]
                if not (slot := Slot(name, name, hint, self._depth)).is_open
            }
        return self._members

    # -- decoding ------------------------------------------------------------

    def decode(self, value: object) -> object:
        """Return the value of which ``value`` is the parsed JSON.

        Raises:
            MisfitError: It doesn't fit the annotation.
        """
        if self._adapter is None:
            return untag(value)
        if type(value) in self.kinds:
            return value
        data = to_json(value)
        return self._read_untagged(data) if _TAG_BYTES not in data else self._read_tagged(value)

    def _read(self, data: bytes) -> object:
        """Return the value of which ``data`` is the JSON."""
        if self._adapter is None or self.kinds or _TAG_BYTES in data:
            return self.decode(from_json(data))
        return self._read_untagged(data)

    def _read_untagged(self, data: bytes) -> object:
        assert self._adapter is not None, "it is not open"
        try:
            found = _load(self._adapter, data)
        except ValidationError as error:
            raise self._misfit(error, from_json(data)) from None
        return restored(found, None) if self._tells_time else found

    def _read_tagged(self, value: object) -> object:
        assert self._adapter is not None, "it is not open"
        found = self._decode_tagged(value, self._adapter)
        return self._read_untagged(to_json(value)) if found is _MISSING else found

    def _decode_tagged(self, value: object, adapter: TypeAdapter[Any]) -> object:
        plain = without_notes(value)
        if plain is not value:
            try:
                return restored(_load(adapter, to_json(plain)), value)
            except ZoneInfoNotFoundError as error:
                raise MisfitError(f"can't be read on this machine: {safe_text(error)}") from None
            except (ValidationError, MisplacedError):
                pass
        if type(value) is dict and value.keys() == {TAG, "of", "value"}:
            slot = self._union().get(value["of"])
            if slot is not None:
                return slot.decode(value["value"])
        marked = type(value) is dict and value.get(TAG) == "any"
        found = untag(value)
        try:
            return adapter.validate_python((found,), strict=marked or None)[0]
        except ValidationError as error:
            if marked:
                raise self._misfit(error, found) from None
            return _MISSING

    def decode_loosely(self, value: object) -> object:
        """Return the value, by its tags alone when it doesn't fit the annotation."""
        try:
            return self.decode(value)
        except MisfitError:
            return untag(value)


_MISSING = object()
MOST_BYTES = sys.maxsize  # that a value is small enough was seen before


def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """Return the adapter of a tuple with one item of ``hint``; None if that is open.

    (The tuple makes the configuration hold for dataclasses too.)
    """
    if hint is Any or hint is object or isinstance(hint, TypeVar) or get_origin(hint) is Unpack:
        return None
    try:
        return _adapter_of(hint)
    except Exception:  # then there may be something in it that we know
        try:
            return _adapter_of(with_subclasses(hint))
        except Exception:  # whatever pydantic can't handle is as good as not annotated
            return None


def _adapter_of(hint: Any) -> TypeAdapter[Any]:
    one_of_it: Any = tuple.__class_getitem__(hint)
    return TypeAdapter(one_of_it, config=_CONFIG)


def _dump(adapter: TypeAdapter[Any], value: object, **options: Any) -> bytes:
    """Return what pydantic writes, under the names of fields, and without what is computed."""
    options = {"by_alias": False, "round_trip": True, "warnings": "error", **options}
    try:
        return readable(adapter.dump_json((value,), **options)[1:-1])
    except ValueError as error:
        raise RefusedError(json_reason(error)) from None


def _plainly(adapter: TypeAdapter[Any], value: object) -> bytes:
    data = _dump(adapter, value)
    if _TAG_BYTES in data:
        raise RefusedError(f"it holds {TAG!r}, which stands for something else in stored JSON")
    return data


def _by_alias(adapter: TypeAdapter[Any], value: object) -> bytes:
    return _dump(adapter, value, by_alias=True)


def _with_notes(adapter: TypeAdapter[Any], value: object) -> bytes:
    data = _plainly(adapter, value)
    try:
        back = _load(adapter, data)
    except ValidationError:
        back = None
    return to_text(noted(value, from_json(data), back))


def _only_set(adapter: TypeAdapter[Any], value: object) -> bytes:
    return _dump(adapter, value, exclude_unset=True)


_FORMS = (_plainly, _by_alias, _with_notes, _only_set)
"""What pydantic may write for a value; the first counts that reads back as that value."""


def _marked(data: bytes) -> bytes:
    """Return the JSON of a value that is to be read by its tags, not by the annotation."""
    return b'{"%s":"any","value":%s}' % (TAG.encode(), data)


def _changed(value: object, back: object, lost: str) -> RefusedError:
    """Return the error for a value whose JSON, read by the annotation, would be another."""
    one, two = type_name(value), type_name(back)
    if one != two:
        return RefusedError(f"read back it would be {two}. Annotate it with its exact type")
    what = f" (another {lost})" if lost else ""
    return RefusedError(f"read back it would be another {one}{what}. {_FIX}")


def _unreadable(error: MisfitError) -> RefusedError:
    return RefusedError(f"read back it would be none at all ({error.detail}). {_FIX}")


_FIX = "Give what is in it annotations that say how to read its JSON, or pass plain values"


def _load(adapter: TypeAdapter[Any], data: bytes) -> object:
    return adapter.validate_json(b"[" + data + b"]", by_alias=True, by_name=True)[0]


def _members(hint: Any) -> Iterator[Any]:
    """Yield the members of a union; a type alone is its own only member."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, UnionType):
        for member in get_args(hint):
            yield from _members(member)
    else:
        yield hint


def _scalar_kinds(hint: Any) -> frozenset[type]:
    """Return the exact types that need no pydantic: those of a union of builtin scalars."""
    if get_origin(hint) is Annotated:
        return NOTHING
    kinds = frozenset(NoneType if member is None else member for member in _members(hint))
    return kinds if kinds <= SCALARS else NOTHING


def _leaf(schema: Any) -> type | None:
    """Return the type of which every value reads back, for the schema of a tuple of one."""
    items = schema.get("items_schema") or [{}]
    kind: str = items[0].get("type", "")
    return None if "serialization" in items[0] else _LEAVES.get(kind)


def _mentions_time(schema: Any, seen: frozenset[int] = frozenset()) -> bool:
    """Tell whether a core schema has datetimes or times in it, of which JSON says less."""
    if isinstance(schema, dict):
        if schema.get("type") in ("datetime", "time"):
            return True
        schema = list(schema.values())
    if not isinstance(schema, list | tuple) or id(schema) in seen:
        return False
    return any(_mentions_time(part, seen | {id(schema)}) for part in schema)


def _is_exact(schema: Any) -> bool:
    """Tell whether every value of a core schema reads back from JSON as it was."""
    kind = schema.get("type")
    if "serialization" in schema:
        return False
    if kind == "dict":
        keys, values = schema.get("keys_schema", {}), schema.get("values_schema", {})
        return keys.get("type") in ("str", "int", "uuid") and _is_exact(keys) and _is_exact(values)
    if kind not in _EXACT:
        return False
    inner = [schema.get("schema"), schema.get("items_schema")]
    return all(
        _is_exact(part)
        for item in inner
        if item is not None
        for part in (item if isinstance(item, list) else [item])
    )
