"""Names of modules: the patterns that they match, and the functions inside of them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

PATTERN = (
    "A pattern is a module's name, in which * stands for any characters of one part and ** for any "
    "number of parts, also none: shop.tasks, shop.*.tasks, shop.**. Its first part is a name"
)
_PART = re.compile(r"[^\W\d]\w*")
_WILD = re.compile(r"\*\*|(?:\w|\*(?!\*))+")
LONGEST = 200


class FunctionPath(NamedTuple):
    """Where a module-level function is."""

    module: str
    function: str

    def __str__(self) -> str:
        return f"{self.module}.{self.function}"


def path_of(name: str) -> FunctionPath | None:
    """Return the function that ``package.module:function``, or all of it with dots, may name.

    ``None`` if no module-level function that is no private one can have this name.
    """
    module, _, function = name.rpartition(":" if ":" in name else ".")
    parts = [*module.split("."), function]
    if len(name) > LONGEST or not all(map(_PART.fullmatch, parts)):
        return None
    return None if any(one.startswith("_") for one in parts) else FunctionPath(module, function)


def patterns_in(text: str) -> tuple[str, ...]:
    """Return the patterns of a text that are separated by commas.

    Raises:
        ValueError: one is none.
    """
    found = tuple(filter(None, (one.strip() for one in text.split(","))))
    for one in found:
        first, *rest = one.split(".")
        if not _PART.fullmatch(first) or not all(map(_WILD.fullmatch, rest)):
            raise ValueError(f"{one[:LONGEST]!r} is no pattern of modules. {PATTERN}.")
    return found


def matches(pattern: str, module: str) -> bool:
    """Whether a module's name matches a pattern."""
    return _compiled(pattern).fullmatch(module) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    first, *rest = pattern.split(".")
    text = re.escape(first)
    for part in rest:
        if part == "**":
            text += r"(?:\.\w+)*"
        else:
            text += r"\." + r"\w*".join(map(re.escape, part.split("*")))
    return re.compile(text)
