"""How many places of a terminal a text takes, and how it is cut and wrapped to so many. Pure."""

from __future__ import annotations

import re
import unicodedata

_WIDE = frozenset({"W", "F"})
_NOTHING = frozenset({"Mn", "Me", "Cf"})
"""Categories of what stands above, below or around the letter before it."""


def places(text: str) -> int:
    """Return how many places a text takes; a letter of Chinese or an emoji takes two."""
    return len(text) if text.isascii() else sum(map(_places, text))


def _places(letter: str) -> int:
    if unicodedata.category(letter) in _NOTHING:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in _WIDE else 1


def beginning(text: str, width: int) -> str:
    """Return as much of a text as so many places hold."""
    taken = 0
    for at, letter in enumerate(text):
        taken += _places(letter)
        if taken > width:
            return text[:at]
    return text


def cut(text: str, width: int) -> str:
    """Return a text that takes so many places at most; a … at its end says that it was cut."""
    return text if places(text) <= width else beginning(text, width - 1).rstrip() + "…"


def wrapped(text: str, width: int | None) -> list[str]:
    """Return the lines of a text, none wider than so many places; words stay whole if they can."""
    lines = text.split("\n")
    if width is None:
        return lines
    return [part for line in lines for part in _wrapped(line, max(width, 1))]


def _wrapped(line: str, width: int) -> list[str]:
    found, begun = [], ""
    for word in re.findall(r"\s*\S+\s*", line):
        if begun and places(begun + word.rstrip()) > width:
            found.append(begun)
            begun = ""
        *parts, begun = _folded(begun + word.rstrip(), width)
        found += parts
        begun += word[len(word.rstrip()) :]
    return [part.rstrip() for part in [*found, begun]]


def _folded(word: str, width: int) -> list[str]:
    """Return the parts of a word that is longer than a line."""
    found, begin, taken = [], 0, 0
    for at, letter in enumerate(word):
        wide = _places(letter)
        if taken + wide > width and at > begin:
            found.append(word[begin:at])
            begin, taken = at, 0
        taken += wide
    return [*found, word[begin:]]
