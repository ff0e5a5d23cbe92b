"""One annotated place, a parameter or a result: its values as JSON and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, Unpack, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from wopr.domain.jsontext import (
    TAG,
    MisfitError,
    OverBudgetError,
    RefusedError,
    json_reason,
    readable,
    tagged_text,
    to_text,
    type_name,
    untag,
    weigh,
)

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
    {"int", "str", "float", "bool", "none", "date", "timedelta", "uuid", "decimal", "bytes"}
    | {"list", "tuple", "set", "frozenset", "nullable"}
)
_TAG_BYTES = f'"{TAG}"'.encode()


class Slot:
    """Encode and decode the values of one annotation.

    An open slot (no annotation, ``Any``, ``object``, or a class that pydantic
    can't handle) takes builtin values in the tagged form. Any other is validated
    strictly, as a type checker would, and encoded by pydantic. Where the
    annotation leaves open how to read the JSON back (``datetime | str``,
    ``list[Any]``), the text is read back at once, and if that gives another
    value, the tagged form is used instead.
    """

    __slots__ = (
        "_adapter",
        "_depth",
        "_exact",
        "_members",
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
        self._exact = self._adapter is not None and _is_exact(self._adapter.core_schema)
        self._members: dict[str, tuple[Any, TypeAdapter[Any]]] | None = None

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
        if not self._exact:
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
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = "".join(f"[{step!r}]" for step in first["loc"][1:])
        detail = f"at {place}: {first['msg']}" if place else first["msg"]
        return MisfitError(f"must be {self.text}, not {type_name(value)} ({detail})")

    def _encode(self, adapter: TypeAdapter[Any], value: object, budget: int) -> bytes:
        try:
            data = _dump(adapter, value)
            if self._exact:
                return data
            back = _load(adapter, data)
            if _TAG_BYTES not in data and same(value, back):
                return data
            problem = _changed(value, back)
        except RefusedError as error:
            problem = error
        except ValidationError as error:
            problem = _changed(value, self._misfit(error, value))
        try:
            data = tagged_text(value, budget, self._depth)
            return data if _TAG_BYTES in data else _marked(data)
        except OverBudgetError:
            raise
        except RefusedError:
            return self._as_member(value, problem)

    def _as_member(self, value: object, problem: RefusedError) -> bytes:
        """Encode ``value`` as the one member of a union that is its exact type."""
        for name, (hint, adapter) in self._union().items():
            if type(value) is (get_origin(hint) or hint):
                try:
                    data = _dump(adapter, self._fitting(adapter, value))
                    if same(value, _load(adapter, data)):
                        head = to_json({TAG: "member", "of": name})[:-1]
                        return head + b',"value":' + data + b"}"
                except (RefusedError, ValidationError):
                    continue
        raise problem

    def _union(self) -> dict[str, tuple[Any, TypeAdapter[Any]]]:
        if self._members is None:
            members = {}
            for hint in _members(self.hint):
                adapter = _adapter(hint)
                if adapter is not None:
                    members[getattr(hint, "__name__", str(hint))] = (hint, adapter)
            self._members = members
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
        if _TAG_BYTES in data:
            found = self._decode_tagged(value, self._adapter)
            if found is not _MISSING:
                return found
        try:
            return _load(self._adapter, data)
        except ValidationError as error:
            raise self._misfit(error, value) from None

    def _decode_tagged(self, value: object, adapter: TypeAdapter[Any]) -> object:
        if type(value) is dict and value.keys() == {TAG, "of", "value"}:
            hint_adapter = self._union().get(value["of"])
            if hint_adapter is not None:
                return _load(hint_adapter[1], to_json(value["value"]))
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


def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """Return the adapter of a tuple with one item of ``hint``; None if that is open.

    (The tuple makes the configuration hold for dataclasses too.)
    """
    if hint is Any or hint is object or isinstance(hint, TypeVar) or get_origin(hint) is Unpack:
        return None
    try:
        return TypeAdapter(tuple[hint], config=_CONFIG)
    except Exception:  # whatever pydantic can't handle is as good as not annotated
        return None


def _dump(adapter: TypeAdapter[Any], value: object) -> bytes:
    try:
        return readable(adapter.dump_json((value,), warnings="error")[1:-1])
    except ValueError as error:
        raise RefusedError(json_reason(error)) from None


def _marked(data: bytes) -> bytes:
    """Return the JSON of a value that is to be read by its tags, not by the annotation."""
    return b'{"%s":"any","value":%s}' % (TAG.encode(), data)


def _changed(value: object, back: object) -> RefusedError:
    """Return the error for a value whose JSON, read by the annotation, would be another."""
    one, two = type_name(value), type_name(back)
    other = f"another {one}" if one == two else two
    if isinstance(back, MisfitError):
        other = "none at all"
    return RefusedError(
        f"read back it would be {other}. Annotate it with its exact type, and give the "
        f"classes in it fields that JSON can hold"
    )


def _load(adapter: TypeAdapter[Any], data: bytes) -> object:
    return adapter.validate_json(b"[" + data + b"]")[0]


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


def same(one: Any, two: Any) -> bool:
    """Tell whether two values are equal and of the same types all the way down."""
    kind = type(one)
    if kind is not type(two):
        return kind is int and type(two) is float and one == two
    if kind is float or kind is Decimal:
        return _same_number(one, two)
    if kind is dict:
        return _same_dict(one, two)
    if kind is set or kind is frozenset:
        return _same_keys(one, two)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(one)]
        return all(same(getattr(one, name), getattr(two, name)) for name in names)
    if hasattr(kind, "__pydantic_validator__"):
        return _same_dict(vars(one), vars(two))
    return bool(one == two)


def _same_number(one: Any, two: Any) -> bool:
    if type(one) is Decimal:
        return bool(one.compare_total(two) == 0)  # 1.0 is not 1.00, and NaN is NaN
    return bool(one == two) or (math.isnan(one) and math.isnan(two))


def _same_dict(one: dict[Any, Any], two: dict[Any, Any]) -> bool:
    return _same_keys(one, two) and all(same(item, two[key]) for key, item in one.items())


def _same_keys(one: Collection[object], two: Collection[object]) -> bool:
    """Compare with types, because 1, 1.0, True and an IntEnum are one and the same key."""
    kinds = {key: type(key) for key in two}
    return len(one) == len(two) and all(kinds.get(key) is type(key) for key in one)
