"""Calls that come as JSON from outside: read by a function's annotations, and described so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from wopr.domain.codec import CallCodec
from wopr.domain.errors import PayloadError
from wopr.domain.jsontext import MisfitError, safe_text, shown
from wopr.domain.masking import masked
from wopr.domain.parameters import Parameters
from wopr.domain.resultof import is_result
from wopr.domain.slots import Slot

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CONFIG = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


def read_call(
    codec: CallCodec, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the values that a function takes for JSON values: a date for ``"2030-05-17"``.

    A ``ResultOf`` stays as it is.

    Raises:
        InvalidCallError: They are no call of it.
        PayloadError: One is no value of its parameter.
    """
    parameters, given = codec.parameters, tuple(args)
    codec.check_binding(given, kwargs)
    values = tuple(
        _value(codec, parameters.positional(at), parameters.label(at), one)
        for at, one in enumerate(given)
    )
    named = {key: _value(codec, parameters.keyword(key), key, one) for key, one in kwargs.items()}
    return values, named


def _value(codec: CallCodec, slot: Slot, label: str, value: Any) -> Any:
    kinds = slot.kinds
    kind = type(value)
    if kind in kinds or is_result(value):
        return value
    if kinds and not (kind is int and float in kinds):  # "5" is no number, nor is true
        raise _unfit(codec, slot, label, value)
    try:
        return slot.decode(value)
    except MisfitError as error:
        raise _unfit(codec, slot, label, value, error.detail) from None
    except Exception as error:  # noqa: BLE001 - what the classes of an application raise
        raise _unfit(codec, slot, label, value, safe_text(error)) from None


def _unfit(codec: CallCodec, slot: Slot, label: str, value: Any, why: str = "") -> PayloadError:
    more = f" ({why})" if why else ""
    return PayloadError(
        f"Argument {label!r} of task {codec.name!r} has to be the JSON of "
        f"{slot.text or 'a value'}, not {shown(value)}{more}. The signature is {codec.signature}."
    )


def schema_of(codec: CallCodec) -> dict[str, Any]:
    """Return the JSON schema of the arguments of a function, by name."""
    parameters = codec.parameters
    definitions: dict[str, Any] = {}
    properties = {
        name: {**_schema(slot, definitions), **_default(parameters, name)}
        for name, slot in parameters.by_name.items()
    }
    rest = parameters.rest
    found: dict[str, Any] = {
        "$schema": DIALECT,
        "title": codec.name,
        "description": codec.signature,
        "type": "object",
        "properties": properties,
        "required": parameters.required,
        "additionalProperties": False if rest is None else _schema(rest, definitions) or True,
    }
    if definitions:
        found["$defs"] = definitions
    return found


def _default(parameters: Parameters, name: str) -> dict[str, Any]:
    known = parameters.defaults
    return {"default": masked(known[name], name)} if name in known else {}


def _schema(slot: Slot, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one value; of one that pydantic can't describe, anything goes."""
    if slot.is_open:
        return {}
    try:
        one_of_it: Any = tuple.__class_getitem__(slot.hint)
        found = TypeAdapter(one_of_it, config=_CONFIG).json_schema()
    except Exception:  # noqa: BLE001 - classes of an application, which may refuse in their own way
        return {}
    definitions |= found.get("$defs", {})
    [schema] = found["prefixItems"]
    return dict(schema)
