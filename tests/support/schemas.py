"""The JSON Schema of what each command prints with ``--json``, made of types.

``python -m support.schemas`` in ``tests`` writes it to ``docs/reference/wopr.schema.json``.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import (
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from support.documents import DOCUMENTS, Failed
from support.paths import ROOT
from wopr.cli.output import VERSION
from wopr.domain.act import OBJECT

SCHEMA = ROOT / "docs" / "reference" / "wopr.schema.json"

Schema = dict[str, Any]
_SIMPLE: dict[Any, Schema] = {
    Any: {},
    object: {},
    type(None): {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    Path: {"type": "string"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
}


class Maker:
    """Makes a schema of types, the way ``wopr.cli.output.plain`` makes JSON of values."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def of(self, kind: Any) -> Schema:
        """Return the schema of a type."""
        if kind in _SIMPLE:
            return _SIMPLE[kind]
        origin, inside = get_origin(kind), get_args(kind)
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.of(one) for one in inside]}
        if origin is Literal:
            return {"enum": list(inside)}
        return self._class(kind) if origin is None else self._holding(origin, inside)

    def _holding(self, origin: type, inside: tuple[Any, ...]) -> Schema:
        if issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(inside[1])}
        return {"type": "array", "items": self.of(inside[0])}

    def _class(self, kind: Any) -> Schema:
        if isinstance(kind, type) and issubclass(kind, Enum):
            return self._named(kind, lambda: {"enum": [one.value for one in kind]})
        if is_dataclass(kind):
            return self._named(kind, lambda: self._dataclass(kind))
        if is_typeddict(kind):
            return self._named(kind, lambda: self._typed_dict(kind))
        return {}  # a trigger, for example: as its class says

    def _named(self, kind: type, make: Any) -> Schema:
        if kind.__name__ not in self.definitions:
            self.definitions[kind.__name__] = {}  # so that it may contain itself
            said = (kind.__doc__ or "").partition("\n")[0]
            self.definitions[kind.__name__] = {"description": said, **make()}
        return {"$ref": f"#/$defs/{kind.__name__}"}

    def _dataclass(self, kind: Any) -> Schema:
        hints = get_type_hints(kind)
        found = {
            item.name: dict[str, Any] if item.metadata == OBJECT else hints[item.name]
            for item in fields(kind)
        }
        return self._object(found, found)

    def _typed_dict(self, kind: Any) -> Schema:
        extras = get_type_hints(kind, include_extras=True)  # __required_keys__ sees no text
        required = [name for name, hint in extras.items() if get_origin(hint) is not NotRequired]
        return self._object(get_type_hints(kind), required)

    def _object(self, hints: Mapping[str, Any], required: Iterable[str]) -> Schema:
        properties = {name: self.of(hint) for name, hint in hints.items()}
        return {"type": "object", "properties": properties, "required": list(required)}


def schema() -> Schema:
    """Return the schema of everything that the command prints with ``--json``."""
    maker = Maker()
    versioned = {
        "description": "Every document has its version.",
        "type": "object",
        "properties": {"version": {"const": VERSION}},
        "required": ["version"],
    }
    commands = {
        command: {
            "allOf": [
                {"$ref": "#/$defs/Versioned"},
                {"anyOf": [maker.of(kind), maker.of(Failed)]},
            ]
        }
        for command, kind in sorted(DOCUMENTS.items())
    }
    definitions = dict(sorted({"Versioned": versioned, **maker.definitions}.items()))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"What wopr prints with --json, version {VERSION}",
        "description": "$defs/commands has the schema of each command's document, by its words.",
        "$defs": {"commands": {"$defs": commands}, **definitions},
    }


def written() -> str:
    """Return the text of the schema file."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(written(), encoding="utf-8")
