"""Take secrets out of what people and machines read: logs, settings, messages.

Masks first, then cuts: a text that was cut before may have lost the word that says
what the rest of it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

MASK = "***"
DEEPEST = 6
"""Levels of a value that are looked into; what is below becomes an ellipsis."""
MOST = 10_000
"""Items of a value that are looked into, about; what comes then becomes an ellipsis."""

_WORDS = (
    r"password|passwd|passphrase|pwd|secret(?!ar)|token(?!s|iz)|authori[sz]ation|api[_\- ]?key"
    r"|access[_\- ]?key|private[_\- ]?key|cookie|credential"
)
_NAME = re.compile(_WORDS, re.IGNORECASE)
_HINTS = (
    *("passw", "passphrase", "pwd", "secret", "token", "authori", "key", "cookie", "credential"),
    *("bearer", "://"),
)
"""Without one of these there is no secret to be found: most lines are through with that."""

# No part of a pattern can match what the next one begins with, or it is bounded: so no
# text is slow.
_HEADER = re.compile(
    r"((?:authorization|cookie)\s{0,8}:\s{0,8})[^\s\"'\\][^\r\n\"'\\]*", re.IGNORECASE
)
_PAIR = re.compile(
    rf"""
    ( (?:{_WORDS}) [\w.\-]{{0,40}} \\*["']? \s{{0,8}} (?:=>|[=:]) \s{{0,8}} )   # key=
    (?:
        b? (?P<quote>\\{{0,32}}["']) (?: (?!(?P=quote)) (?:\\. | [^\\]) )*             # "value"
        (?: (?P=quote) | \\*\Z )                                                # or cut off
      | (?: (?:bearer|basic|digest|token) \s{{1,8}} )?                           # value
        (?: [^\s,;&)\]}}"'\\] | \\(?!["']) | ,(?=\S) )+
    )
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_BEARER = re.compile(r"\b(bearer)\s{1,8}[^\s,;)\]}\"'\\]+", re.IGNORECASE)
_USERINFO = re.compile(r"(://[^\s/:@\"'<>]{0,200}:)[^\s/\"'<>]{0,1000}@")


def is_secret(name: str) -> bool:
    """Tell whether a thing with this name should not be shown."""
    return _NAME.search(name) is not None


def mask(text: str) -> str:
    """Return the text with the secrets in it replaced by ``***``.

    They are found by the words beside them: ``password=…``, ``"api_key": "…"``,
    ``Authorization: …``, ``Bearer …``, ``https://user:…@host``.
    """
    folded = text.casefold()
    if not any(hint in folded for hint in _HINTS):
        return text
    text = _HEADER.sub(rf"\1{MASK}", text)
    text = _PAIR.sub(_masked_pair, text)
    text = _BEARER.sub(rf"\1 {MASK}", text)
    return _USERINFO.sub(rf"\1{MASK}@", text)


def _masked_pair(found: re.Match[str]) -> str:
    quote = found["quote"] or ""
    return f"{found[1]}{quote}{MASK}{quote}"


def masked(value: object, name: str = "", depth: int = 0, left: list[int] | None = None) -> object:
    """Return a value as JSON can hold it, without secrets.

    Args:
        value: anything; what JSON has no form for becomes its text.
        name: what it is called; that alone can make it a secret.
        depth: how deep it sits in something else.
        left: how many items may still be looked into, changed here; ``None``: all of them.
    """
    if value is None or isinstance(value, bool):
        return value
    if is_secret(name):
        return MASK
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    left = [MOST] if left is None else left
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if depth >= DEEPEST or left[0] <= 0:
            return "…"
        left[0] -= len(value)
    if isinstance(value, Mapping):
        items = [(_text(key), item) for key, item in value.items()]
        return {mask(key): masked(item, key, depth + 1, left) for key, item in items}
    if isinstance(value, Iterable) and isinstance(value, list | tuple | set | frozenset):
        return [masked(item, "", depth + 1, left) for item in value]
    return mask(_text(value))


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a value of the user's whose __str__ raises
        return f"({type(value).__name__}: its text can't be read)"
