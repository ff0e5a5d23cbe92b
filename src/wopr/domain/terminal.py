"""Texts that are safe for a terminal.

They were written by anybody. Control characters could clear the screen, change what was
printed before, or answer on the keyboard's behalf.
"""

from __future__ import annotations

import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, bidi overrides, lone surrogates


def clean(text: object, *, lines: bool = False) -> str:
    """Return the text without control characters.

    Line breaks and tabs are kept with ``lines``; otherwise they become spaces.
    """
    whole = str(text)
    if whole.isprintable():
        return whole
    return "".join(_clean_letter(letter, lines=lines) for letter in whole)


def _clean_letter(letter: str, *, lines: bool) -> str:
    if letter in "\n\t\r":
        return letter if lines and letter != "\r" else " "
    return "" if unicodedata.category(letter) in _UNSAFE else letter
