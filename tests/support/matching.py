"""Whether a JSON document is what a JSON Schema says, as far as ours says anything.

Stricter than a reader has to be: an object of named properties has no others.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from typing import Any

from support.documents import DOCUMENTS
from support.schemas import SCHEMA

_TYPES: dict[str, Any] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_KNOWN = {
    *("$ref", "anyOf", "allOf", "enum", "const", "type", "format", "properties", "required"),
    *("additionalProperties", "items", "description"),
}


@cache
def _schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return found


def command_of(words: tuple[str, ...]) -> str:
    """Return the command that a command line names; of one that there is not, any that fails."""
    found = (" ".join(words[:count]) for count in (2, 1))
    return next((command for command in found if command in DOCUMENTS), "stats")


def check_document(command: str, document: dict[str, Any]) -> dict[str, Any]:
    """Return what a command printed, without the version, once the schema says that it may be."""
    said = _schema()["$defs"]["commands"]["$defs"][command]
    wrong = problems({"version": document.get("version")}, said["allOf"][0])
    rest = {name: value for name, value in document.items() if name != "version"}
    wrong += problems(rest, said["allOf"][1])
    assert wrong == [], f"wopr {command} --json and {SCHEMA.name}: {wrong}"
    return rest


def problems(value: Any, said: dict[str, Any], at: str = "$") -> list[str]:
    """Return where a value is not what a schema says."""
    assert said.keys() <= _KNOWN, f"this can't check {sorted(said.keys() - _KNOWN)}"
    if "$ref" in said:
        return problems(value, _schema()["$defs"][said["$ref"].removeprefix("#/$defs/")], at)
    if "anyOf" in said:
        tried = [problems(value, one, at) for one in said["anyOf"]]
        return [] if [] in tried else [one for some in tried for one in some]
    if "enum" in said or "const" in said:
        allowed = said.get("enum", [said.get("const")])
        return [] if value in allowed else [f"{at}: {value!r} is none of {allowed}"]
    if "type" in said and not _TYPES[said["type"]](value):
        return [f"{at}: {value!r:.80} is no {said['type']}"]
    if said.get("format") == "date-time" and datetime.fromisoformat(value).tzinfo is None:
        return [f"{at}: {value!r} has no offset"]
    if isinstance(value, list):
        items = said.get("items", {})
        return [one for n, item in enumerate(value) for one in problems(item, items, f"{at}[{n}]")]
    return _object_problems(value, said, at) if isinstance(value, dict) else []


def _object_problems(value: dict[str, Any], said: dict[str, Any], at: str) -> list[str]:
    named, others = said.get("properties"), said.get("additionalProperties", {})
    found = [f"{at}: {name} is missing" for name in said.get("required", ()) if name not in value]
    for name, item in value.items():
        if named is not None and name not in named:
            found.append(f"{at}: nobody tells of {name}")
        else:
            found += problems(item, others if named is None else named[name], f"{at}.{name}")
    return found
