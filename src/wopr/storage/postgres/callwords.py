"""Calls of functions that PostgreSQL does not know, in the words that it does."""

from __future__ import annotations

import re
from collections.abc import Callable

_NAMES = re.compile(r"\b(arg_max|arg_min|arg_max_null|list_contains|epoch_us|try_cast|range)\(")
_FILTER = "filter ("
_CUT = re.compile(r"\[:(\d+)\]")
_TAGS = "json_extract_string(options, '$.tags[*]')"
_AS = " as "


def rewritten(text: str) -> str:
    """Return a text with those calls as PostgreSQL has them; what is inside of them, too."""
    done = ""
    while (found := _NAMES.search(text)) is not None:
        end = _closing(text, found.end())
        inner, rest = text[found.end() : end - 1], text[end:]
        arguments = [rewritten(one) for one in _arguments(inner)]
        condition = None
        if found[1].startswith("arg_") and rest.lstrip().startswith(_FILTER):
            start = rest.index("(") + 1
            stop = _closing(rest, start)
            condition = rewritten(rest[start : stop - 1].strip().removeprefix("where "))
            rest = rest[stop:]
        call = _CALLS[found[1]](arguments, condition)
        if (cut := _CUT.match(rest)) is not None:
            call, rest = f"left({call}, {cut[1]})", rest[cut.end() :]
        done += text[: found.start()] + call
        text = rest
    return done + text


def _closing(text: str, start: int) -> int:
    """Return where the bracket ends in which ``start`` is."""
    depth = 1
    for at in range(start, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if not depth:
            return at + 1
    raise ValueError(f"A bracket is open at the end of {text[start:]!r:.200}.")


def _arguments(text: str) -> list[str]:
    """Return the parts of a text between its own commas."""
    parts, depth = [""], 0
    for one in text:
        depth += (one in "([") - (one in ")]")
        if one == "," and not depth:
            parts.append("")
        else:
            parts[-1] += one
    return [one.strip() for one in parts]


def _best(order: str, *, nulls: bool) -> Callable[[list[str], str | None], str]:
    def call(arguments: list[str], condition: str | None) -> str:
        value, by = arguments
        conditions = [f"({condition})"] if condition else []
        if not nulls:
            conditions.append(f"({value}) is not null")
        where = f" filter (where {' and '.join(conditions)})" if conditions else ""
        return f"(array_agg({value} order by {by}{order}){where})[1]"

    return call


def _contained(arguments: list[str], _: str | None) -> str:
    whole, part = arguments
    if whole != _TAGS:
        return f"({part} = any({whole}))"
    return (
        "(case when json_typeof(options::json -> 'tags') = 'array' then "
        f"{part} in (select json_array_elements_text(options::json -> 'tags')) else false end)"
    )


def _microseconds(arguments: list[str], _: str | None) -> str:
    return f"(extract(epoch from ({arguments[0]})::timestamp) * 1000000)::bigint"


def _cast(arguments: list[str], _: str | None) -> str:
    value, kind = arguments[0].rsplit(_AS, 1)
    return f"({value})::{kind}"


def _range(arguments: list[str], _: str | None) -> str:
    first, end = arguments
    return f"array(select generate_series({first}, {end} - 1))"


_CALLS: dict[str, Callable[[list[str], str | None], str]] = {
    "arg_max": _best(" desc", nulls=False),
    "arg_max_null": _best(" desc", nulls=True),
    "arg_min": _best("", nulls=False),
    "list_contains": _contained,
    "epoch_us": _microseconds,
    "try_cast": _cast,
    "range": _range,
}
